// SPDX-License-Identifier: GPL-2.0-only
/*
 * faultprof verify: whether patches are what they should be.  Each check has its own inputs, and
 * those that have them are made: the patches apply and checkpatch is content, what they touch
 * builds, a kernel built with them has each variable where they say, and fewer pages move.  The
 * first that fails ends the program with one line and status 1.  The source is not touched: all is
 * done on a copy.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultprof.h"

#define LEAST	5	/* recordings a side */
#define TRAILER	"Page-layout: "
#define IGNORED	"MISSING_SIGN_OFF,NO_AUTHOR_SIGN_OFF"

/* A variable and its place, as a patch says it; a kernel may have several of its name */
struct placement {
	char group[64], name[256];
};

struct span {
	char *name;
	u64 start, end;
	int section;
};

static struct placement *placements;
static size_t nr_placements;
static size_t nr_unplaced;		/* of members and caches */
static char **touched;		/* files */
static size_t nr_touched;
static char **patches;
static size_t nr_patches;
static char scratch[4096];

static void *grow(void *list, size_t nr, size_t size)
{
	return nr & (nr - 1) ? list : xrealloc(list, (2 * nr + 1) * size);
}

static int is_patch(const struct dirent *d)
{
	const size_t len = strlen(d->d_name);

	return len > 6 && !strcmp(d->d_name + len - 6, ".patch");
}

/* A line of a patch */
static void read_line(char *line, const char *path)
{
	struct placement *p;
	size_t i;

	line[strcspn(line, "\n")] = 0;
	if (!strncmp(line, TRAILER, strlen(TRAILER))) {
		placements = grow(placements, nr_placements, sizeof(*placements));
		p = &placements[nr_placements++];
		if (sscanf(line + strlen(TRAILER), "%63s %255s", p->group, p->name) != 2)
			fail("%s: \"%.60s\": expected a place and a name", path, line);
		/* What types and caches are laid out like, no symbol says. */
		if (!strcmp(p->group, "member") || !strcmp(p->group, "cache")) {
			nr_placements--;
			nr_unplaced++;
		}
	}
	if (strncmp(line, "+++ b/", 6) || strstr(line, ".."))
		return;
	for (i = 0; i < nr_touched; i++)
		if (!strcmp(touched[i], line + 6))
			return;
	touched = grow(touched, nr_touched, sizeof(*touched));
	touched[nr_touched++] = strdup(line + 6);
}

static void read_patches(const char *dir)
{
	struct dirent **names;
	char *line = NULL;
	size_t size = 0;
	int n, i;
	FILE *f;

	n = scandir(dir, &names, is_patch, alphasort);
	if (n < 0)
		fail("--patches %s: %s", dir, strerror(errno));
	if (!n)
		fail("--patches %s: no *.patch: expected those of faultprof patch", dir);
	patches = xzalloc(n * sizeof(*patches));
	for (i = 0; i < n; i++) {
		char path[8192];

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		patches[nr_patches] = realpath(path, NULL);
		f = fopen(path, "re");
		if (!f || !patches[nr_patches])
			fail("%s: %s", path, strerror(errno));
		nr_patches++;
		while (getline(&line, &size, f) > 0)
			read_line(line, path);
		fclose(f);
		free(names[i]);
	}
	free(names);
	free(line);
	if (!nr_placements && !nr_unplaced)
		fail("--patches %s: no \"%s\" in them: expected those of faultprof patch", dir,
		     TRAILER);
}

/* Runs a program in a folder.  Returns whether its status was 0; @says gets what it said first. */
static bool execute(const char *dir, char *says, size_t len, const char *const *argv)
{
	int pipes[2], status;
	char rest[4096];
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		fail("pipe: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid) {
		const int null = open("/dev/null", O_RDONLY);

		if (chdir(dir) || null < 0)
			_exit(127);
		dup2(null, STDIN_FILENO);
		dup2(pipes[1], STDOUT_FILENO);
		dup2(pipes[1], STDERR_FILENO);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(pipes[1]);
	while ((got = read(pipes[0], n + 1 < len ? says + n : rest,
			   n + 1 < len ? len - 1 - n : sizeof(rest))) > 0)
		if (n + 1 < len)
			n += got;
	close(pipes[0]);
	says[n] = 0;
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		snprintf(says, len, "%s cannot be run", argv[0]);
	return !status;
}

#define run_in(dir, says, ...) \
	execute(dir, says, sizeof(says), (const char *const[]){ __VA_ARGS__, NULL })

static void remove_scratch(void)
{
	char says[256];

	if (*scratch)
		run_in("/", says, "rm", "-rf", scratch);
	*scratch = 0;
}

static const char *first_line(char *says)
{
	says[strcspn(says, "\n")] = 0;
	return *says ? says : "it says nothing";
}

static const char *base_name(const char *path)
{
	return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

/* git am on what the patches touch */
static void check_apply(const char *source)
{
	char says[4096], from[8192], to[8192];
	size_t i;

	for (i = 0; i < nr_touched; i++) {
		snprintf(from, sizeof(from), "%s/%s", source, touched[i]);
		snprintf(to, sizeof(to), "%s/git/%s", scratch, touched[i]);
		/* A file that a patch adds is not there. */
		if (!access(from, R_OK) &&
		    !run_in(".", says, "install", "-D", "-m", "644", from, to))
			fail("%s: %s", from, first_line(says));
	}
	snprintf(to, sizeof(to), "%s/git", scratch);
	if (!run_in(".", says, "mkdir", "-p", to) || !run_in(to, says, "git", "init", "-q") ||
	    !run_in(to, says, "git", "add", "-Af") ||
	    !run_in(to, says, "git", "-c", "user.name=-", "-c", "user.email=-", "commit", "-q",
		    "--allow-empty", "-m", "source"))
		fail("git: %s", first_line(says));
	for (i = 0; i < nr_patches; i++)
		if (!run_in(to, says, "git", "-c", "user.name=-", "-c", "user.email=-", "am", "-q",
			    patches[i]))
			fail("rejected: %s does not apply: %s", base_name(patches[i]),
			     first_line(says));
	printf("%zu patches apply\n", nr_patches);
}

static void check_style(const char *source)
{
	char says[4096], program[8192];
	size_t i;

	snprintf(program, sizeof(program), "%s/scripts/checkpatch.pl", source);
	if (access(program, R_OK))
		fail("%s: %s", program, strerror(errno));
	for (i = 0; i < nr_patches; i++)
		if (!run_in(".", says, "perl", program, "--no-tree", "--strict", "--terse",
			    "--no-summary", "--max-line-length=100", "--ignore", IGNORED,
			    patches[i]) ||
		    *says)
			fail("rejected: checkpatch: %s", base_name(first_line(says)));
	puts("checkpatch --strict says nothing of them");
}

/* The object that a C file is built into: that of the file beside it that includes it, if any */
static char *object_of(const char *file)
{
	const char *name = base_name(file);
	char says[4096], dir[8192], pattern[512], *object;
	size_t at = name - file, len;

	snprintf(dir, sizeof(dir), "%s/tree/%s", scratch, file);
	*strrchr(dir, '/') = 0;
	snprintf(pattern, sizeof(pattern), "^#[[:space:]]*include[[:space:]]*\"%s\"", name);
	/* find has a status of grep's, which is no matter. */
	run_in(dir, says, "find", ".", "-maxdepth", "1", "-name", "*.c", "-exec", "grep", "-l",
	       pattern, "{}", "+");
	says[strcspn(says, "\n")] = 0;
	if (!strncmp(says, "./", 2))
		name = says + 2;
	len = strlen(name) - 1;
	object = xzalloc(at + len + 2);
	memcpy(object, file, at);
	memcpy(object + at, name, len);
	object[at + len] = 'o';
	return object;
}

/* The objects that the patches touch, in a copy of the configured source */
static void check_build(const char *source)
{
	static const char **make;
	char says[4096], tree[8192], from[8192], to[8192], jobs[32];
	size_t i, k, len, n = 0;

	make = xzalloc((nr_touched + 8) * sizeof(*make));
	snprintf(tree, sizeof(tree), "%s/tree", scratch);
	snprintf(from, sizeof(from), "%s/git/.", scratch);
	if (!run_in(".", says, "cp", "-a", "--reflink=auto", source, tree))
		fail("cp: %s", first_line(says));
	/* Its time of change tells make. */
	for (i = 0; i < nr_touched; i++) {
		snprintf(from, sizeof(from), "%s/git/%s", scratch, touched[i]);
		snprintf(to, sizeof(to), "%s/tree/%s", scratch, touched[i]);
		if (!run_in(".", says, "install", "-D", "-m", "644", from, to))
			fail("%s: %s", to, first_line(says));
	}
	snprintf(jobs, sizeof(jobs), "-j%ld", sysconf(_SC_NPROCESSORS_ONLN));
	make[n++] = "make";
	make[n++] = "-s";
	make[n++] = jobs;
	for (i = 0; i < nr_touched; i++) {
		len = strlen(touched[i]);
		if (len > 2 && !strcmp(touched[i] + len - 2, ".c")) {
			char *object = object_of(touched[i]);

			for (k = 3; k < n && strcmp(make[k], object); k++)
				;
			if (k == n)
				make[n++] = object;
			else
				free(object);
		}
	}
	if (!execute(tree, says, sizeof(says), make))
		fail("rejected: what they touch does not build: %s", first_line(says));
	printf("%zu objects build\n", n - 3);
	for (i = 3; i < n; i++)
		free((char *)make[i]);
	free(make);
}

/* Whether a symbol is a variable's: "name", or "name.7" if it is static in a function */
static bool is_name(const char *symbol, const char *name)
{
	const size_t len = strlen(name);

	if (strncmp(symbol, name, len))
		return false;
	return !symbol[len] || (symbol[len] == '.' &&
				!symbol[len + strspn(symbol + len, ".0123456789")]);
}

struct spans {
	struct span *span;
	size_t nr;
};

static void add_span(const struct elf_symbol *s, void *arg)
{
	struct spans *to = arg;

	/* A place without a size is nothing that is accessed. */
	if (s->section >= SHN_LORESERVE || !s->size || !*s->name)
		return;
	to->span = grow(to->span, to->nr, sizeof(*to->span));
	to->span[to->nr++] = (struct span){ strdup(s->name), s->start, s->start + s->size,
					    s->section };
}

static struct span *read_spans(const char *path, size_t *nr)
{
	struct spans spans = { };
	Elf *elf;
	int fd;

	elf = symbols_open(path, "the kernel's vmlinux", &fd);
	symbols_each(elf, add_span, &spans);
	elf_end(elf);
	close(fd);
	if (!spans.nr)
		fail("%s: no symbols: expected the kernel's vmlinux", path);
	*nr = spans.nr;
	return spans.span;
}

/* A variable of a name that begins in the pages that begin with @of's; NULL if there is none. */
static const struct span *in_page(const struct span *spans, size_t nr, const struct span *of,
				  const char *name)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (spans[i].section == of->section && is_name(spans[i].name, name) &&
		    spans[i].start / PAGE_SIZE == of->start / PAGE_SIZE)
			return &spans[i];
	return NULL;
}

/* Whether two placements are of one page */
static bool alike(const struct placement *a, const struct placement *b)
{
	return a == b || (strcmp(a->group, "alone") && !strcmp(a->group, b->group));
}

/* Whether what begins with @of has only what belongs to @p on its pages; else @why. */
static bool is_placed(const struct span *spans, size_t nr, const struct span *of,
		      const struct placement *p, char *why, size_t len)
{
	const struct placement *q, *end = placements + nr_placements;
	const u64 first = of->start / PAGE_SIZE * PAGE_SIZE;
	u64 last = of->end;
	const struct span *s, *m;

	for (q = placements; q < end; q++) {
		m = alike(q, p) ? in_page(spans, nr, of, q->name) : of;
		snprintf(why, len, "%s is not on the page of %s", q->name, p->name);
		if (!m)
			return false;
		if (m->end > last)
			last = m->end;
	}
	last = (last + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	snprintf(why, len, "%s does not begin a page", p->name);
	if (!strcmp(p->group, "alone") && of->start != first)
		return false;
	for (s = spans; s < spans + nr; s++) {
		if (s->section != of->section || s->end <= first || s->start >= last)
			continue;
		for (q = placements; q < end; q++) {
			m = alike(q, p) ? in_page(spans, nr, of, q->name) : NULL;
			if (m && s->start >= m->start && s->end <= m->end)
				break;
		}
		snprintf(why, len, "%s shares its page with %s", p->name, s->name);
		if (q == end)
			return false;
	}
	return true;
}

static void check_placement(const char *vmlinux)
{
	const struct placement *p;
	char why[1024];
	struct span *spans;
	size_t nr, i;

	spans = read_spans(vmlinux, &nr);
	for (p = placements; p < placements + nr_placements; p++) {
		snprintf(why, sizeof(why), "%s has no %s", vmlinux, p->name);
		for (i = 0; i < nr; i++)
			if (is_name(spans[i].name, p->name) &&
			    is_placed(spans, nr, &spans[i], p, why, sizeof(why)))
				break;
		if (i == nr)
			fail("rejected: %s", why);
	}
	for (i = 0; i < nr; i++)
		free(spans[i].name);
	free(spans);
	printf("%zu variables are where they should be\n", nr_placements);
}

/* How many faults a run had: by its recordings, or by its counters */
struct runs {
	u64 *faults;
	size_t nr;
};

/* The sum of what a counter says in a file of spanvm's; false if it is no such file. */
static bool read_counters(const char *path, u64 *sum)
{
	static const char *const keys[] = { "\"faults_read\":", "\"faults_write\":" };
	char *text = NULL, *s, *end;
	size_t size = 0, i, found = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		fail("%s: %s", path, strerror(errno));
	*sum = 0;
	if (getdelim(&text, &size, 0, f) > 0 && (*text == '[' || *text == '{')) {
		for (i = 0; i < 2; i++) {
			for (s = text; (s = strstr(s, keys[i])); found++) {
				s += strlen(keys[i]);
				*sum += strtoull(s, &end, 10);
				if (end == s)
					fail("%s: \"%.20s\": expected a number", path, s);
			}
		}
		s = strrchr(text, *text == '[' ? ']' : '}');
		if (!found || found % 2 || !s || s[1 + strspn(s + 1, "\n ")])
			fail("%s: expected whole counters of spanvm's", path);
	}
	free(text);
	fclose(f);
	return found;
}

/* A run: its files, one of each host, with commas between them */
static void add_run(struct runs *r, const char *files)
{
	char *list = strdup(files), *save, *path;
	u64 sum = 0, one;

	for (path = strtok_r(list, ",", &save); path; path = strtok_r(NULL, ",", &save)) {
		struct faults faults = { };

		if (!read_counters(path, &one)) {
			input_read(&faults, path);
			one = faults.nr;
			free(faults.fault);
		}
		sum += one;
	}
	free(list);
	r->faults = grow(r->faults, r->nr, sizeof(*r->faults));
	r->faults[r->nr++] = sum;
}

static int by_number(const void *a, const void *b)
{
	const u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

static double print_median(struct runs *r, const char *name)
{
	double middle;
	size_t i;

	qsort(r->faults, r->nr, sizeof(*r->faults), by_number);
	middle = (r->faults[(r->nr - 1) / 2] + r->faults[r->nr / 2]) / 2.0;
	printf("%-7s median %.1f of", name, middle);
	for (i = 0; i < r->nr; i++)
		printf(" %llu", r->faults[i]);
	putchar('\n');
	return middle;
}

static void check_runs(struct runs *before, struct runs *after, size_t least)
{
	double was, is;

	if (before->nr < least || after->nr < least)
		fail("%zu runs before and %zu after: expected %zu or more of each", before->nr,
		     after->nr, least);
	was = print_median(before, "before:");
	is = print_median(after, "after:");
	if (is >= was)
		fail("rejected: the median of faults is %.1f with the patches and %.1f without", is,
		     was);
	printf("%.1f %% fewer faults\n", 100 * (1 - is / was));
}

/**
 * verify() - the command of that name
 * @argc:	its words, with its name
 * @argv:	they
 *
 * Return: the exit status.
 */
int verify(int argc, char **argv)
{
	static const struct option options[] = {
		{ "patches", required_argument, NULL, 'p' },
		{ "source", required_argument, NULL, 's' },
		{ "build", no_argument, NULL, 'B' },
		{ "vmlinux", required_argument, NULL, 'v' },
		{ "before", required_argument, NULL, 'b' },
		{ "after", required_argument, NULL, 'a' },
		{ "least", required_argument, NULL, 'l' },
		{ }
	};
	const char *dir = NULL, *source = NULL, *vmlinux = NULL, *tmp = getenv("TMPDIR") ?: "/tmp";
	static const char **before_files, **after_files;
	size_t nr_before = 0, nr_after = 0, least = LEAST, i;
	struct runs before = { }, after = { };
	bool build = false;
	int o, side = 0;

	before_files = xzalloc(argc * sizeof(*before_files));
	after_files = xzalloc(argc * sizeof(*after_files));
	while ((o = next_option(argc, argv, options)) != -1) {
		if (o == 'p')
			dir = optarg;
		if (o == 's')
			source = optarg;
		if (o == 'B')
			build = true;
		if (o == 'v')
			vmlinux = optarg;
		if (o == 'l')
			least = number_option("least", optarg, 1, 1000);
		if (o == 1 && !side)
			usage_error("\"%s\": expected --before or --after in front of it", optarg);
		if (o == 'a' || o == 'b')
			side = o;
		else if (o != 1)
			side = 0;
		if (side == 'b')
			before_files[nr_before++] = optarg;
		if (side == 'a')
			after_files[nr_after++] = optarg;
	}
	if (!nr_before != !nr_after)
		usage_error("--%s: expected --%s, too", nr_before ? "before" : "after",
			    nr_before ? "after" : "before");
	if ((source || vmlinux) && !dir)
		usage_error("no --patches: expected it");
	if (dir && !source && !vmlinux)
		usage_error("--patches %s: expected --source or --vmlinux with it", dir);
	if (build && !source)
		usage_error("--build: expected --source with it");
	if (!dir && !nr_before)
		usage_error("nothing to do: expected --patches, or --before and --after");

	if (dir)
		read_patches(dir);
	if (source) {
		snprintf(scratch, sizeof(scratch), "%s/faultprof-XXXXXX", tmp);
		if (!mkdtemp(scratch)) {
			*scratch = 0;
			fail("%s: %s", tmp, strerror(errno));
		}
		atexit(remove_scratch);
		check_apply(source);
		check_style(source);
	}
	if (build)
		check_build(source);
	if (vmlinux)
		check_placement(vmlinux);
	for (i = 0; i < nr_before; i++)
		add_run(&before, before_files[i]);
	for (i = 0; i < nr_after; i++)
		add_run(&after, after_files[i]);
	if (nr_before)
		check_runs(&before, &after, least);
	for (i = 0; i < nr_patches; i++)
		free(patches[i]);
	for (i = 0; i < nr_touched; i++)
		free(touched[i]);
	free(patches);
	free(touched);
	free(placements);
	free(before.faults);
	free(after.faults);
	free(before_files);
	free(after_files);
	return 0;
}
