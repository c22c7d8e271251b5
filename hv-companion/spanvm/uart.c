// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two 16550A serial ports of node 0: the console, with input, and the data channel, output
 * only.  What the guest sends goes to a ring that the event loop empties when its file
 * takes it; a full ring shows to the guest as a transmitter that is busy, so nothing is
 * lost and no thread waits.  All calls but those of the event loop's files are under
 * vmm.dev_lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "spanvm.h"

#define IER_RX		BIT(0)
#define IER_THRE	BIT(1)
#define IIR_NONE	0x01
#define IIR_THRE	0x02
#define IIR_RX		0x04
#define IIR_FIFO	0xc0
#define FCR_ENABLE	BIT(0)
#define FCR_CLEAR_RX	BIT(1)
#define LCR_DLAB	BIT(7)
#define LSR_RX		BIT(0)
#define LSR_EMPTY	(BIT(5) | BIT(6))
#define MCR_LOOP	BIT(4)
#define MSR_READY	(BIT(4) | BIT(5) | BIT(7))
#define ESCAPE		0x01	/* Ctrl-A, then x ends the span */

static struct termios saved_termios;
static bool termios_saved;

static u32 sink_room(const struct sink *s)
{
	return sizeof(s->buf) - (s->head - s->tail);
}

/**
 * sink_pending - is there something to write?
 * @s: the file
 *
 * Return: whether there is.
 */
bool sink_pending(const struct sink *s)
{
	return s->head != s->tail;
}

static bool rx_ready(const struct uart *u)
{
	return u->rx_head != u->rx_tail;
}

static void update(struct vmm *vm, struct uart *u)
{
	u8 iir = IIR_NONE;

	if (u->ier & IER_RX && rx_ready(u))
		iir = IIR_RX;
	else if (u->ier & IER_THRE && u->thre_pending)
		iir = IIR_THRE;
	u->iir = iir;
	ioapic_set(vm, u->irq, iir != IIR_NONE);
}

/**
 * uart_reset - the state of both ports after power-on
 * @vm: this node
 */
void uart_reset(struct vmm *vm)
{
	memset(vm->uarts, 0, sizeof(vm->uarts));
	vm->uarts[0].irq = IRQ_COM1;
	vm->uarts[0].sink = &vm->console;
	vm->uarts[1].irq = IRQ_COM2;
	vm->uarts[1].sink = &vm->data;
	vm->uarts[0].iir = IIR_NONE;
	vm->uarts[1].iir = IIR_NONE;
}

static void transmit(struct vmm *vm, struct uart *u, u8 val)
{
	struct sink *s = u->sink;

	u->thre_pending = false;
	if (u->mcr & MCR_LOOP) {
		if (u->rx_head - u->rx_tail < sizeof(u->rx))
			u->rx[u->rx_head++ % sizeof(u->rx)] = val;
	} else if (s->fd >= 0 && sink_room(s)) {
		if (!sink_pending(s))
			wake_loop(vm);
		s->buf[s->head++ % sizeof(s->buf)] = val;
	}
	if (s->fd < 0 || sink_room(s) > 64)
		u->thre_pending = true;
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
	u8 val;

	switch (reg) {
	case 0:
		if (u->lcr & LCR_DLAB)
			return u->dll;
		val = rx_ready(u) ? u->rx[u->rx_tail++ % sizeof(u->rx)] : 0;
		update(vm, u);
		if (u == &vm->uarts[0] && vm->input_open)
			wake_loop(vm);
		return val;
	case 1:
		return u->lcr & LCR_DLAB ? u->dlm : u->ier;
	case 2:
		val = u->iir | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
		if (u->iir == IIR_THRE) {
			u->thre_pending = false;
			update(vm, u);
		}
		return val;
	case 3:
		return u->lcr;
	case 4:
		return u->mcr;
	case 5:
		return (rx_ready(u) ? LSR_RX : 0) |
		       (u->sink->fd < 0 || sink_room(u->sink) > 64 ? LSR_EMPTY : 0);
	case 6:
		if (u->mcr & MCR_LOOP)
			return (u->mcr & 2) << 3 | (u->mcr & 1) << 5 | (u->mcr & 0xc) << 4;
		return MSR_READY;
	default:
		return u->scr;
	}
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
	switch (reg) {
	case 0:
		if (u->lcr & LCR_DLAB)
			u->dll = val;
		else
			transmit(vm, u, val);
		break;
	case 1:
		if (u->lcr & LCR_DLAB) {
			u->dlm = val;
			return;
		}
		/* Enabling the transmitter's interrupt raises it if it is empty. */
		if (val & ~u->ier & IER_THRE)
			u->thre_pending = true;
		u->ier = val & 0xf;
		break;
	case 2:
		u->fcr = val;
		if (val & FCR_CLEAR_RX)
			u->rx_tail = u->rx_head;
		break;
	case 3:
		u->lcr = val;
		return;
	case 4:
		u->mcr = val & 0x1f;
		return;
	case 7:
		u->scr = val;
		return;
	default:
		return;
	}
	update(vm, u);
}

static int open_sink(struct vmm *vm, struct sink *s, const char *opt, const char *path)
{
	s->fd = -1;
	if (!path)
		return 0;
	s->fd = strcmp(path, "-") ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) :
		dup(STDOUT_FILENO);
	if (s->fd >= 0)
		return 0;
	say(vm, "%s %s: %s", opt, path, strerror(errno));
	return -1;
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
	bool was_full;

	pthread_mutex_lock(&vm->dev_lock);
	at = s->tail % sizeof(s->buf);
	n = s->head - s->tail;
	if (n > sizeof(s->buf) - at)
		n = sizeof(s->buf) - at;
	pthread_mutex_unlock(&vm->dev_lock);
	if (!n || s->fd < 0)
		return;
	/* A pipe that poll() calls writable takes this much without blocking. */
	done = write(s->fd, s->buf + at, n < 4096 ? n : 4096);
	if (done < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (done < 0) {
		say(vm, "cannot write the guest's output: %s; it is dropped from here on",
		    strerror(errno));
		close(s->fd);
		s->fd = -1;
		done = n;
	}
	pthread_mutex_lock(&vm->dev_lock);
	was_full = sink_room(s) <= 64;
	s->tail += done;
	if (was_full && vm->cpus) {
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
	pthread_mutex_lock(&vm->dev_lock);
	for (i = 0; i < n; i++) {
		if (termios_saved && escaped && buf[i] == 'x')
			span_fail(vm, "ended from the console");
		escaped = termios_saved && !escaped && buf[i] == ESCAPE;
		if (!escaped && u->rx_head - u->rx_tail < sizeof(u->rx))
			u->rx[u->rx_head++ % sizeof(u->rx)] = buf[i];
	}
	update(vm, u);
	pthread_mutex_unlock(&vm->dev_lock);
}

/**
 * console_close - write what is left, as far as the files take it in a second, and close
 * @vm: this node
 */
void console_close(struct vmm *vm)
{
	struct sink *s[] = { &vm->console, &vm->data };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(s); i++)
		if (s[i]->fd >= 0)
			close(s[i]->fd);
	restore_termios();
}
