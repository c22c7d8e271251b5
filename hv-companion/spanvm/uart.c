// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two 16550A serial ports of node 0: the console, with input, and the data channel, output
 * only.  What the guest sends goes to a ring that the event loop empties when its file
 * takes it; a full ring shows to the guest as a transmitter that is busy, so nothing is
 * lost and no thread waits.  All calls but those of the event loop's files are under
 * vmm.dev_lock.
 */
#include <linux/serial_reg.h>
#include <termios.h>

#include "spanvm.h"

#define IIR_FIFO	0xc0
#define SEND_ROOM	64	/* a transmitter with less is busy */
#define ESCAPE		0x01	/* Ctrl-A, then x ends the span */

static struct termios saved_termios;
static bool termios_saved;

static u32 sink_room(const struct sink *s)
{
	return sizeof(s->buf) - (s->head - s->tail);
}

static bool can_send(const struct sink *s)
{
	return s->fd < 0 || sink_room(s) > SEND_ROOM;
}

/**
 * sink_poll_fd - what to poll() for writing
 * @s: the file
 *
 * Return: its descriptor, or -1 while there is nothing to write or nowhere to.
 */
int sink_poll_fd(const struct sink *s)
{
	return s->head != s->tail ? s->fd : -1;
}

static bool rx_ready(const struct uart *u)
{
	return u->rx_head != u->rx_tail;
}

static void receive(struct uart *u, u8 val)
{
	if (u->rx_head - u->rx_tail < sizeof(u->rx))
		u->rx[u->rx_head++ % sizeof(u->rx)] = val;
}

static u8 iir(const struct uart *u)
{
	if (u->reg[UART_IER] & UART_IER_RDI && rx_ready(u))
		return UART_IIR_RDI;
	return u->reg[UART_IER] & UART_IER_THRI && u->thre_pending ? UART_IIR_THRI :
	       UART_IIR_NO_INT;
}

static void update(struct vmm *vm, struct uart *u)
{
	ioapic_set(vm, u->irq, iir(u) != UART_IIR_NO_INT);
}

/**
 * uart_reset - the state of both ports after power-on
 * @vm: this node
 */
void uart_reset(struct vmm *vm)
{
	vm->uarts[0] = (struct uart){ .irq = IRQ_COM1, .sink = &vm->console };
	vm->uarts[1] = (struct uart){ .irq = IRQ_COM2, .sink = &vm->data };
}

static void transmit(struct vmm *vm, struct uart *u, u8 val)
{
	struct sink *s = u->sink;

	if (u->reg[UART_MCR] & UART_MCR_LOOP) {
		receive(u, val);
	} else if (s->fd >= 0 && sink_room(s)) {
		if (s->head == s->tail)
			wake_loop(vm);
		s->buf[s->head++ % sizeof(s->buf)] = val;
	}
	u->thre_pending = can_send(s);
}

static bool is_divisor(const struct uart *u, u32 reg)
{
	return reg <= UART_DLM && u->reg[UART_LCR] & UART_LCR_DLAB;
}

/**
 * uart_read - the guest reads
 * @vm: this node
 * @u: the port
 * @reg: 0 to 7
 *
 * Return: the register.
 */
u8 uart_read(struct vmm *vm, struct uart *u, u32 reg)
{
	const u8 mcr = u->reg[UART_MCR];
	u8 val;

	if (is_divisor(u, reg))
		return u->divisor[reg];
	switch (reg) {
	case UART_RX:
		val = rx_ready(u) ? u->rx[u->rx_tail++ % sizeof(u->rx)] : 0;
		update(vm, u);
		if (u == &vm->uarts[0] && vm->input_open)
			wake_loop(vm);
		return val;
	case UART_IIR:
		val = iir(u);
		if (val == UART_IIR_THRI) {
			u->thre_pending = false;
			update(vm, u);
		}
		return val | (u->reg[UART_FCR] & UART_FCR_ENABLE_FIFO ? IIR_FIFO : 0);
	case UART_LSR:
		return (rx_ready(u) ? UART_LSR_DR : 0) |
		       (can_send(u->sink) ? UART_LSR_THRE | UART_LSR_TEMT : 0);
	case UART_MSR:
		if (mcr & UART_MCR_LOOP)
			return (mcr & UART_MCR_RTS) << 3 | (mcr & UART_MCR_DTR) << 5 |
			       (mcr & (UART_MCR_OUT1 | UART_MCR_OUT2)) << 4;
		return UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
	}
	return u->reg[reg];
}

/**
 * uart_write - the guest writes
 * @vm: this node
 * @u: the port
 * @reg: 0 to 7
 * @val: what
 */
void uart_write(struct vmm *vm, struct uart *u, u32 reg, u8 val)
{
	if (is_divisor(u, reg)) {
		u->divisor[reg] = val;
		return;
	}
	switch (reg) {
	case UART_TX:
		transmit(vm, u, val);
		break;
	case UART_IER:
		val &= 0xf;
		/* Enabling the transmitter's interrupt raises it if it is empty. */
		if (val & ~u->reg[UART_IER] & UART_IER_THRI)
			u->thre_pending = true;
		break;
	case UART_FCR:
		if (val & UART_FCR_CLEAR_RCVR)
			u->rx_tail = u->rx_head;
		break;
	case UART_MCR:
		val &= 0x1f;
		break;
	}
	u->reg[reg] = val;
	update(vm, u);
}

static int open_sink(struct vmm *vm, struct sink *s, const char *opt, const char *path)
{
	s->fd = -1;
	if (!path)
		return 0;
	s->fd = strcmp(path, "-") ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) :
		dup(STDOUT_FILENO);
	return s->fd < 0 ? say(vm, "%s %s: %s", opt, path, strerror(errno)) : 0;
}

static void restore_termios(void)
{
	if (termios_saved)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_termios);
}

/**
 * console_open - open the files of both serial ports, and make a terminal raw
 * @vm: this node
 *
 * Return: 0, or -1 after one line on stderr.
 */
int console_open(struct vmm *vm)
{
	struct termios t;

	if (open_sink(vm, &vm->console, "--console", vm->cfg->console) ||
	    open_sink(vm, &vm->data, "--data", vm->cfg->data))
		return -1;
	vm->input_open = vm->cfg->console && !strcmp(vm->cfg->console, "-");
	if (vm->input_open && isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &saved_termios)) {
		t = saved_termios;
		cfmakeraw(&t);
		t.c_oflag |= OPOST;
		termios_saved = !tcsetattr(STDIN_FILENO, TCSANOW, &t);
		atexit(restore_termios);
	}
	return 0;
}

/**
 * console_drain - write what a port's file takes now
 * @vm: this node
 * @s: the file, which poll() says can be written
 */
void console_drain(struct vmm *vm, struct sink *s)
{
	u32 at, n;
	ssize_t done;
	bool was_busy;

	pthread_mutex_lock(&vm->dev_lock);
	at = s->tail % sizeof(s->buf);
	n = s->head - s->tail;
	if (n > sizeof(s->buf) - at)
		n = sizeof(s->buf) - at;
	pthread_mutex_unlock(&vm->dev_lock);
	/* A pipe that poll() calls writable takes this much without blocking. */
	done = write(s->fd, s->buf + at, n < 4096 ? n : 4096);
	if (done < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	pthread_mutex_lock(&vm->dev_lock);
	was_busy = !can_send(s);
	if (done < 0) {
		say(vm, "cannot write the guest's output: %s; it is dropped from here on",
		    strerror(errno));
		close(s->fd);
		s->fd = -1;
	}
	s->tail = done < 0 ? s->head : s->tail + done;
	if (was_busy && vm->cpus) {
		struct uart *u = &vm->uarts[s == &vm->data];

		u->thre_pending = true;
		update(vm, u);
	}
	pthread_mutex_unlock(&vm->dev_lock);
}

/**
 * console_wants_input - is there room for input?
 * @vm: this node
 *
 * Return: whether there is.
 */
bool console_wants_input(struct vmm *vm)
{
	struct uart *u = &vm->uarts[0];

	return vm->input_open && u->rx_head - u->rx_tail < sizeof(u->rx) / 2;
}

/**
 * console_input - take what was typed
 * @vm: this node
 */
void console_input(struct vmm *vm)
{
	static bool escaped;
	struct uart *u = &vm->uarts[0];
	u8 buf[64];
	ssize_t n, i;

	n = read(STDIN_FILENO, buf, sizeof(buf));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		vm->input_open = false;
		return;
	}
	GUARD(&vm->dev_lock);
	for (i = 0; i < n; i++) {
		if (termios_saved && escaped && buf[i] == 'x')
			span_fail(vm, "ended from the console");
		escaped = termios_saved && !escaped && buf[i] == ESCAPE;
		if (!escaped)
			receive(u, buf[i]);
	}
	update(vm, u);
}
