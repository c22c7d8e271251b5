// SPDX-License-Identifier: GPL-2.0-only
/*
 * Edits the source of a kernel, or of a module, so that a variable, a member of a structure or the
 * objects of a slab cache get another place, and says what was edited as a diff.  Only definitions
 * whose form is known are touched: a name with its array bounds, or one of the macros below, with
 * attributes that say nothing of the place or are known to be replaced; kmem_cache_create().
 * Nothing is written to the tree: edits stay in memory, on top of each other, until
 * source_close().
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define HEADER		"linux/page_layout.h"
#define ATTRIBUTES	"include/" HEADER
#define LINKER_SCRIPT	"include/asm-generic/vmlinux.lds.h"
#define COLUMNS		100
#define TAB		8
#define CONTEXT		3	/* lines around what has changed in a diff */

/*
 * A line as it is now, and as it was at the last source_keep(): both are NULL for what is not there
 * then.  One that an edit breaks has a newline in it.
 */
struct line {
	char *now, *kept;
	int nr;			/* in the file as it was read; 0: added */
};

struct file {
	char *name;
	struct line *line;
	size_t nr;
	bool last_ends;		/* its last line with a newline */
	bool changed;
	struct file *next;
};

/* A word or a character of a file that is not in a comment, a string or a directive */
struct token {
	size_t line;
	u32 at, len;
};

struct text {
	struct file *file;
	struct token *token;
	size_t nr;
};

static const char *tree;
static char tree_path[4096];		/* the same, from the root */
static struct file *files;

/* What defines one variable, whose attributes may stand before it */
static const char *const macros[] = {
	"ATOMIC_NOTIFIER_HEAD", "BLOCKING_NOTIFIER_HEAD", "DECLARE_BITMAP", "DECLARE_COMPLETION",
	"DECLARE_DEFERRABLE_WORK", "DECLARE_DELAYED_WORK", "DECLARE_RWSEM",
	"DECLARE_WAIT_QUEUE_HEAD", "DECLARE_WORK", "DEFINE_HASHTABLE", "DEFINE_IDA", "DEFINE_IDR",
	"DEFINE_MUTEX", "DEFINE_RATELIMIT_STATE", "DEFINE_RAW_SPINLOCK", "DEFINE_RWLOCK",
	"DEFINE_SEMAPHORE", "DEFINE_SEQLOCK", "DEFINE_SPINLOCK", "DEFINE_TIMER", "DEFINE_XARRAY",
	"HLIST_HEAD", "LIST_HEAD", "RAW_NOTIFIER_HEAD", NULL
};

static const char *const percpu_macros[] = {
	"DEFINE_PER_CPU", "DEFINE_PER_CPU_ALIGNED", "DEFINE_PER_CPU_READ_MOSTLY",
	"DEFINE_PER_CPU_SHARED_ALIGNED", "DECLARE_PER_CPU", "DECLARE_PER_CPU_ALIGNED",
	"DECLARE_PER_CPU_READ_MOSTLY", "DECLARE_PER_CPU_SHARED_ALIGNED", NULL
};

/* Name a section, and give it up */
static const char *const replaced[] = {
	"__cacheline_aligned", "__cacheline_aligned_in_smp", "__cpumask_var_read_mostly",
	"__read_mostly", NULL
};

/* Say nothing of the place */
static const char *const harmless[] = {
	"____cacheline_aligned", "____cacheline_aligned_in_smp",
	"____cacheline_internodealigned_in_smp", "__aligned", "__always_unused", "__be16",
	"__be32", "__be64", "__force", "__iomem", "__jiffy_arch_data", "__latent_entropy",
	"__le16", "__le32", "__le64", "__maybe_unused", "__percpu", "__private", "__rcu", "__s16",
	"__s32", "__s64", "__s8", "__sum16", "__typeof__", "__u16", "__u32", "__u64", "__u8",
	"__user", "__used", "__visible", "__weak", "__wsum", NULL
};

static bool is_in(const char *const *list, const char *word, size_t len)
{
	for (; *list; list++)
		if (strlen(*list) == len && !memcmp(*list, word, len))
			return true;
	return false;
}

static void add_line(struct file *f, const char *text, size_t len)
{
	if (!(f->nr & (f->nr - 1)))
		f->line = xrealloc(f->line, (2 * f->nr + 1) * sizeof(*f->line));
	f->line[f->nr] = (struct line){ strndup(text, len), strndup(text, len), f->nr + 1 };
	f->nr++;
}

/* A file of the tree; NULL if it cannot be read */
static struct file *open_file(const char *name)
{
	char path[4096], *line = NULL;
	struct file *f;
	size_t size = 0;
	ssize_t len;
	FILE *in;

	for (f = files; f; f = f->next)
		if (!strcmp(f->name, name))
			return f;
	/* What debugging information says need not be in the tree, and may lead out of it. */
	if (*name == '/' || strstr(name, "..") ||
	    snprintf(path, sizeof(path), "%s/%s", tree, name) >= (int)sizeof(path))
		return NULL;
	in = fopen(path, "re");
	if (!in)
		return NULL;
	f = xzalloc(sizeof(*f));
	f->name = strdup(name);
	while ((len = getline(&line, &size, in)) > 0) {
		f->last_ends = line[len - 1] == '\n';
		add_line(f, line, len - f->last_ends);
	}
	free(line);
	fclose(in);
	f->next = files;
	files = f;
	return f;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static void add_token(struct text *t, size_t line, u32 at, u32 len)
{
	if (!(t->nr & (t->nr - 1)))
		t->token = xrealloc(t->token, (2 * t->nr + 1) * sizeof(*t->token));
	t->token[t->nr++] = (struct token){ line, at, len };
}

/* What of a file is C */
static void read_tokens(struct text *t, struct file *f)
{
	bool comment = false, directive = false;
	size_t i;

	*t = (struct text){ .file = f };
	for (i = 0; i < f->nr; i++) {
		const char *s = f->line[i].now;
		u32 at = 0, len;

		if (!s)
			continue;
		if (!comment && !directive && s[strspn(s, " \t")] == '#')
			directive = true;
		while (s[at]) {
			if (comment) {
				comment = strncmp(s + at, "*/", 2);
				at += comment ? 1 : 2;
			} else if (!strncmp(s + at, "/*", 2)) {
				comment = true;
				at += 2;
			} else if (!strncmp(s + at, "//", 2)) {
				break;
			} else if (s[at] == '"' || s[at] == '\'') {
				for (len = 1; s[at + len] && s[at + len] != s[at]; len++)
					len += s[at + len] == '\\' && s[at + len + 1];
				at += len + (s[at + len] != 0);
			} else if (isspace((unsigned char)s[at])) {
				at++;
			} else {
				for (len = 1; is_word(s[at]) && is_word(s[at + len]); len++)
					;
				if (!directive)
					add_token(t, i, at, len);
				at += len;
			}
		}
		directive = directive && at && s[at - 1] == '\\';
	}
}

static const char *token_text(const struct text *t, size_t i)
{
	return t->file->line[t->token[i].line].now + t->token[i].at;
}

static bool is_token(const struct text *t, size_t i, const char *word)
{
	return i < t->nr && strlen(word) == t->token[i].len &&
	       !memcmp(token_text(t, i), word, t->token[i].len);
}

static bool is_one_of(const struct text *t, size_t i, const char *chars)
{
	return i < t->nr && t->token[i].len == 1 && strchr(chars, *token_text(t, i));
}

/* How far a line reaches, with tabs, up to a place in it */
static u32 columns(const char *s, size_t len)
{
	u32 n = 0;
	size_t i;

	for (i = 0; i < len && s[i]; i++) {
		if (s[i] == '\n')
			n = 0;
		else
			n += s[i] == '\t' ? TAB - n % TAB : 1;
	}
	return n;
}

/* Puts @with in place of what is at a place of a line. */
static void splice(struct file *f, size_t line, u32 at, u32 len, const char *with)
{
	char *old = f->line[line].now, *s;

	if (asprintf(&s, "%.*s%s%s", (int)at, old, with, old + at + len) < 0)
		fail("no memory for a line");
	free(old);
	f->line[line].now = s;
	f->changed = true;
}

/* A new line up to a column: how long it is */
static u32 new_line(u32 indent, char *buf, size_t len)
{
	static const char tabs[] = "\t\t\t\t\t\t\t\t\t\t\t\t";

	return snprintf(buf, len, "\n%.*s%*s", (int)(indent / TAB), tabs, (int)(indent % TAB), "");
}

/*
 * Puts @words in place of what is at a place of a line, apart from what stands around.  If that is
 * too long, the line is broken before them, to go on at the column @indent, or, where it begins
 * with them, behind them.
 */
static void put(struct file *f, size_t line, u32 at, u32 len, const char *words, u32 indent)
{
	const char *s = f->line[line].now;
	const char *space = at && !isspace((unsigned char)s[at - 1]) ? " " : "";
	const char *behind = is_word(s[at + len]) ? " " : "";
	char text[512];
	u32 n;

	if (columns(s, strlen(s)) - len + strlen(words) + 1 <= COLUMNS) {
		snprintf(text, sizeof(text), "%s%s%s", space, words, behind);
		splice(f, line, at, len, text);
		return;
	}
	if (strspn(s, " \t") >= at) {
		snprintf(text, sizeof(text), "%s\n%.*s", words, (int)at, s);
		splice(f, line, at, len + strspn(s + at + len, " \t"), text);
		return;
	}
	n = new_line(indent, text, sizeof(text));
	snprintf(text + n, sizeof(text) - n, "%s%s", words, behind);
	for (n = at; n && isspace((unsigned char)s[n - 1]); n--)
		;
	splice(f, line, n, at + len - n, text);
}

static void add_before(struct file *f, size_t line, const char *text)
{
	add_line(f, "", 0);
	free(f->line[f->nr - 1].now);
	free(f->line[f->nr - 1].kept);
	memmove(&f->line[line + 1], &f->line[line], (f->nr - 1 - line) * sizeof(*f->line));
	f->line[line] = (struct line){ strdup(text), NULL, 0 };
	f->changed = true;
}

/* The header, among those of its folder, which are the first includes but for a few */
static bool include_header(struct file *f)
{
	size_t i, at = SIZE_MAX;
	bool began = false;

	for (i = 0; i < f->nr; i++)
		if (!strcmp(f->line[i].now, "#include <" HEADER ">"))
			return true;
	for (i = 0; i < f->nr; i++) {
		const char *s = f->line[i].now;

		if (began && *s && strncmp(s, "#include <", 10))
			break;
		if (strncmp(s, "#include", 8))
			continue;
		if (at == SIZE_MAX)
			at = i;
		if (strncmp(s, "#include <linux/", 16))
			continue;
		if (!began || strcmp(s, "#include <" HEADER ">") < 0)
			at = i + (strcmp(s, "#include <" HEADER ">") < 0);
		began = true;
	}
	if (at == SIZE_MAX)
		return false;
	add_before(f, at, "#include <" HEADER ">");
	return true;
}

/* The name on a line of the file as it was read, which may be a type's, too */
static size_t find_name(const struct text *t, int line, const char *name)
{
	size_t i;

	for (i = 0; i < t->nr; i++)
		if (t->file->line[t->token[i].line].nr == line && is_token(t, i, name) &&
		    !(i && (is_token(t, i - 1, "struct") || is_token(t, i - 1, "union") ||
			    is_token(t, i - 1, "enum"))))
			return i;
	return SIZE_MAX;
}

/* The parenthesis around a token; SIZE_MAX if there is none in its statement. */
static size_t opening(const struct text *t, size_t i)
{
	int depth = 0;

	while (i-- > 0 && !is_one_of(t, i, ";{}")) {
		depth += is_one_of(t, i, ")");
		if (is_one_of(t, i, "(") && !depth--)
			return i;
	}
	return SIZE_MAX;
}

static size_t closing(const struct text *t, size_t i)
{
	int depth = 0;

	for (; i < t->nr && !is_one_of(t, i, ";{}"); i++) {
		depth += is_one_of(t, i, "(");
		if (is_one_of(t, i, ")") && !depth--)
			return i;
	}
	return SIZE_MAX;
}

/* Whether a word may be an attribute, and not a type or what is declared, that says something */
static bool is_unknown(const struct text *t, size_t i, size_t name)
{
	const char *word = token_text(t, i);
	const u32 len = t->token[i].len;

	return i != name && len > 2 && !strncmp(word, "__", 2) && !is_in(harmless, word, len) &&
	       !(i && (is_token(t, i - 1, "struct") || is_token(t, i - 1, "union") ||
		       is_token(t, i - 1, "enum")));
}

/* A definition as it was found */
struct found {
	struct text text;
	size_t name;
	size_t macro;		/* that it is the argument of, or SIZE_MAX */
	size_t first, end;	/* its tokens: the words before it, up to the value or the end */
	size_t section;		/* the attribute to be replaced, or SIZE_MAX */
};

/* Looks at the attributes.  NULL, or why the variable cannot be moved. */
static const char *check_attributes(struct found *d)
{
	static char why[128];
	const struct text *t = &d->text;
	size_t i;

	d->section = SIZE_MAX;
	for (i = d->first; i < d->end; i++) {
		const char *word = token_text(t, i);
		const u32 len = t->token[i].len;

		if (!is_unknown(t, i, d->name))
			continue;
		if (!strncmp(word, "__page_a", 8) || !strncmp(word, "__page_g", 8))
			return "it has pages of its own";
		snprintf(why, sizeof(why), "what %.*s means for its place is not known", (int)len,
			 word);
		if (!is_in(replaced, word, len))
			return why;
		if (d->section != SIZE_MAX)
			return "it has two attributes that name a section";
		d->section = i;
	}
	return NULL;
}

/* Finds the definition, or declaration, of a variable.  NULL, or why that failed. */
static const char *find_definition(struct found *d, const char *file, int line, const char *name,
				   bool percpu)
{
	static char why[128];
	struct text *t = &d->text;
	struct file *f = open_file(file);
	size_t open;

	snprintf(why, sizeof(why), "%.80s is not in the source", file);
	if (!f)
		return why;
	read_tokens(t, f);
	d->name = find_name(t, line, name);
	snprintf(why, sizeof(why), "%.80s:%d does not name it", file, line);
	if (d->name == SIZE_MAX)
		return why;
	d->macro = SIZE_MAX;
	open = opening(t, d->name);
	if (open != SIZE_MAX) {
		if (!open || !is_word(*token_text(t, open - 1)))
			return "its definition is not of a simple form";
		d->macro = open - 1;
		snprintf(why, sizeof(why), "what %.*s defines is not known",
			 (int)t->token[d->macro].len, token_text(t, d->macro));
		if (!is_in(percpu ? percpu_macros : macros, token_text(t, d->macro),
			   t->token[d->macro].len))
			return why;
	} else if (percpu) {
		return "a per-CPU variable, but not by a macro that is known";
	}
	for (d->first = d->macro == SIZE_MAX ? d->name : d->macro; d->first > 0; d->first--)
		if (is_one_of(t, d->first - 1, ";{}"))
			break;
	d->end = d->macro == SIZE_MAX ? d->name : closing(t, open + 1);
	if (d->end == SIZE_MAX)
		return "its definition is not of a simple form";
	while (d->end < t->nr && !is_one_of(t, d->end, ";{}=,"))
		d->end++;
	return check_attributes(d);
}

/* Where the words that give a variable its place go: after its name and bounds */
static size_t behind_name(const struct found *d)
{
	const struct text *t = &d->text;
	size_t i = d->name;
	int depth = 0;

	while (i + 1 < d->end && (depth || is_one_of(t, i + 1, "["))) {
		i++;
		depth += is_one_of(t, i, "[");
		depth -= is_one_of(t, i, "]");
	}
	return i;
}

static void place_percpu(struct found *d)
{
	const struct text *t = &d->text;
	const struct token *macro = &t->token[d->macro], *open = macro + 1;
	const struct token *close = &t->token[closing(t, d->macro + 2)];
	struct file *f = t->file;
	char word[64], with[128];
	int grown;

	snprintf(word, sizeof(word), "%.*s", (int)macro->len, token_text(t, d->macro));
	snprintf(with, sizeof(with), "%s_PER_CPU_PAGE_ALONE",
		 strncmp(word, "DEFINE", 6) ? "DECLARE" : "DEFINE");
	grown = close->line == macro->line ? (int)strlen(with) - (int)macro->len : 0;
	splice(f, macro->line, macro->at, macro->len, with);
	splice(f, close->line, close->at + grown, 0, ",");
	put(f, close->line, close->at + grown + 1, 0, word,
	    columns(f->line[open->line].now, open->at + strlen(with) - macro->len + 1));
}

static void place_plain(struct found *d, const char *group)
{
	const struct text *t = &d->text;
	const struct token *token;
	struct file *f = t->file;
	char words[256], stock[64];

	if (group)
		snprintf(words, sizeof(words), "__page_group%s", group);
	else
		snprintf(words, sizeof(words), "__page_alone");
	if (d->section != SIZE_MAX) {
		token = &t->token[d->section];
		snprintf(stock, sizeof(stock), "%.*s", (int)token->len, token_text(t, d->section));
		snprintf(words + strlen(words), sizeof(words) - strlen(words),
			 " __stock%s", stock + 1);
		put(f, token->line, token->at, token->len, words, TAB);
	} else if (d->macro != SIZE_MAX) {
		token = &t->token[d->macro];
		/*
		 * Words and a call would look like a function's declaration to checkpatch, but not
		 * with a call among them, nor with an attribute that it has not met yet; a global
		 * variable is used anyway.
		 */
		if (d->first == d->macro && group)
			snprintf(words, sizeof(words), "__page_group(%.*s)",
				 (int)strcspn(group + 1, ")"), group + 1);
		else if (d->first == d->macro)
			snprintf(words, sizeof(words), "__page_alone __stock_used");
		put(f, token->line, token->at, 0, words, 0);
	} else {
		token = &t->token[behind_name(d)];
		put(f, token->line, token->at + token->len, 0, words, TAB);
	}
}

/* What is changed directly behind a block has to keep a distance, says checkpatch. */
static void keep_distance(struct file *f, size_t line)
{
	if (line && (!strcmp(f->line[line - 1].now, "}") || !strcmp(f->line[line - 1].now, "};")))
		add_before(f, line, "");
}

/* Whether a member's structure may grow: @i is a token of it.  NULL, or why not. */
static const char *check_structure(const struct text *t, size_t i)
{
	static char why[128];
	size_t open = i, close = i;
	int depth = 0;

	while (open > 0 && (depth || !is_one_of(t, open, "{"))) {
		depth += is_one_of(t, open, "}");
		depth -= is_one_of(t, open, "{") && depth;
		open--;
	}
	if (!is_one_of(t, open, "{") || !open)
		return "its structure is not of a simple form";
	if (is_token(t, open - 1, "union") || (open > 1 && is_token(t, open - 2, "union")))
		return "it is part of a union";
	if (!is_token(t, open - 1, "struct") && !(open > 1 && is_token(t, open - 2, "struct")))
		return "its structure is not of a simple form";
	for (depth = 0; close < t->nr && (depth || !is_one_of(t, close, "}")); close++) {
		depth += is_one_of(t, close, "{");
		depth -= is_one_of(t, close, "}") && depth;
	}
	for (close++; close < t->nr && !is_one_of(t, close, ";={,"); close++) {
		const char *word = token_text(t, close);
		const u32 len = t->token[close].len;

		snprintf(why, sizeof(why), "what %.*s means for its structure is not known",
			 (int)len, word);
		if (len > 2 && !strncmp(word, "__", 2) && !is_in(harmless, word, len))
			return why;
	}
	return NULL;
}

/* Lets a member begin a page.  NULL, or why it cannot. */
static const char *place_member(const struct definition *d)
{
	struct found found = { };
	struct text *t = &found.text;
	static char why[128];
	const char *wrong;
	size_t i;

	snprintf(why, sizeof(why), "%.80s is not in the source", d->file);
	t->file = open_file(d->file);
	if (!t->file)
		return why;
	read_tokens(t, t->file);
	snprintf(why, sizeof(why), "%.80s:%d does not name it", d->file, d->line);
	found.name = find_name(t, d->line, d->name);
	wrong = found.name == SIZE_MAX ? why : check_structure(t, found.name);
	for (i = found.name; !wrong && i > 0 && !is_one_of(t, i - 1, ";{}"); i--)
		;
	for (found.end = i; !wrong && found.end < t->nr && !is_one_of(t, found.end, ";");
	     found.end++) {
		const char *word = token_text(t, found.end);
		const u32 len = t->token[found.end].len;

		if (is_token(t, found.end, "__page_member"))
			goto out;
		snprintf(why, sizeof(why), "what %.*s means for its place is not known", (int)len,
			 word);
		if (is_one_of(t, found.end, ",:(){}"))
			wrong = "its declaration is not of a simple form";
		else if (is_unknown(t, found.end, found.name))
			wrong = why;
	}
	if (!wrong) {
		const struct token *token = &t->token[i];

		/* Behind the name checkpatch would not take it for a declaration any more. */
		put(t->file, token->line, token->at, 0, "__page_member", TAB);
		if (!include_header(t->file))
			wrong = "its file includes nothing, as one that another includes";
	}
out:
	free(t->token);
	return wrong;
}

/* An argument of a call: its tokens.  The next begins at @end plus one. */
struct argument {
	size_t first, end;
};

/* The arguments of the call whose parenthesis is at @open; false if they are not @nr. */
static bool find_arguments(const struct text *t, size_t open, struct argument *a, size_t nr)
{
	size_t i, n = 0;
	int depth = 0;

	a[0].first = open + 1;
	for (i = open + 1; i < t->nr && !is_one_of(t, i, ";{"); i++) {
		depth += is_one_of(t, i, "(");
		if (depth == 0 && is_one_of(t, i, ",)")) {
			a[n++].end = i;
			if (is_one_of(t, i, ")"))
				return n == nr;
			if (n == nr)
				return false;
			a[n].first = i + 1;
		}
		depth -= is_one_of(t, i, ")");
	}
	return false;
}

/* Whether a string is what stands behind a token */
static bool is_string_behind(const struct text *t, size_t i, const char *string)
{
	const size_t len = strlen(string);
	size_t line = t->token[i].line;
	const char *s = t->file->line[line].now + t->token[i].at + t->token[i].len;

	s += strspn(s, " \t");
	if (!*s && line + 1 < t->file->nr)
		s = t->file->line[line + 1].now + strspn(t->file->line[line + 1].now, " \t");
	return *s == '"' && !strncmp(s + 1, string, len) && s[len + 1] == '"';
}

/* What the tokens of an argument are, on one line; false if they are on several */
static bool argument_text(const struct text *t, const struct argument *a, char *buf, size_t len)
{
	const struct token *first = &t->token[a->first], *last = &t->token[a->end - 1];

	if (a->end <= a->first || first->line != last->line)
		return false;
	return snprintf(buf, len, "%.*s", (int)(last->at + last->len - first->at),
			token_text(t, a->first)) < (int)len;
}

/* Flags as checkpatch wants them, with one more: a "|" has a space on both sides. */
static bool add_flag(const char *flags, const char *more, char *buf, size_t len)
{
	size_t n = 0;

	if (strstr(flags, "||") || strlen(flags) * 3 + strlen(more) + 4 > len)
		return false;
	for (; *flags; flags++) {
		if (*flags != '|') {
			buf[n++] = *flags;
			continue;
		}
		while (n && buf[n - 1] == ' ')
			n--;
		n += sprintf(buf + n, " | ");
		flags += strspn(flags + 1, " \t");
	}
	while (n && buf[n - 1] == ' ')
		n--;
	buf[n] = 0;
	if (!strcmp(buf, "0"))
		n = 0;
	sprintf(buf + n, "%s%s", n && *more ? " | " : "", more);
	return true;
}

/* SLAB_PAGE_ALONE behind flags on several lines, each of which is changed; false if it cannot be */
static bool place_flags(const struct text *t, const struct argument *a)
{
	struct file *f = t->file;
	size_t end = a->end;
	char old[256], text[800];

	while (end > a->first) {
		const struct token *last = &t->token[end - 1], *first;
		struct argument piece = { end - 1, end };

		while (piece.first > a->first && t->token[piece.first - 1].line == last->line)
			piece.first--;
		first = &t->token[piece.first];
		if (!argument_text(t, &piece, old, sizeof(old)) ||
		    !add_flag(old, end == a->end ? "SLAB_PAGE_ALONE" : "", text, sizeof(text)))
			return false;
		if (end == a->end)
			put(f, first->line, first->at, strlen(old), text,
			    columns(f->line[first->line].now, first->at));
		else
			splice(f, first->line, first->at, strlen(old), text);
		end = piece.first;
	}
	return true;
}

/* What a cache is made by */
enum call { NO_CALL, CREATE, CREATE_USERCOPY, MACRO };

/* Whether a token begins the call that makes a cache */
static enum call call_at(const struct text *t, size_t i, const char *cache)
{
	if (is_token(t, i, "kmem_cache_create") && is_string_behind(t, i + 1, cache))
		return CREATE;
	if (is_token(t, i, "kmem_cache_create_usercopy") && is_string_behind(t, i + 1, cache))
		return CREATE_USERCOPY;
	return is_token(t, i, "KMEM_CACHE") && is_token(t, i + 2, cache) ? MACRO : NO_CALL;
}

/* KMEM_CACHE(), which takes no alignment, becomes what it stands for. */
static bool place_macro(const struct text *t, size_t macro)
{
	const struct token *token = &t->token[macro];
	char flags[256], more[800], type[64], text[1200], indent[64];
	struct argument argument[2];
	struct file *f = t->file;
	u32 n;

	if (!find_arguments(t, macro + 1, argument, ARRAY_SIZE(argument)) ||
	    !argument_text(t, &argument[0], type, sizeof(type)) ||
	    !argument_text(t, &argument[1], flags, sizeof(flags)) ||
	    !add_flag(flags, "SLAB_PAGE_ALONE", more, sizeof(more)) ||
	    t->token[argument[1].first].line != token->line)
		return false;
	new_line(columns(f->line[token->line].now, token->at) + strlen("kmem_cache_create("),
		 indent, sizeof(indent));
	n = snprintf(text, sizeof(text), "kmem_cache_create(\"%s\", sizeof(struct %s),%s", type,
		     type, indent);
	snprintf(text + n, sizeof(text) - n, "page_alone_align(__alignof__(struct %s)),%s%s, NULL",
		 type, indent, more);
	splice(f, token->line, token->at,
	       t->token[argument[1].first].at + strlen(flags) - token->at, text);
	return true;
}

/* The alignment goes into the structure that the call's third argument points to. */
static bool place_args(const struct text *t, size_t open, const struct argument *a)
{
	const struct token *name = &t->token[a->first + 1];
	const char *next;
	char line[128];
	size_t i, at;

	if (a->end != a->first + 2 || !is_token(t, a->first, "&"))
		return false;
	for (i = open; i > 2; i--)
		if (is_one_of(t, i, "{") && is_one_of(t, i - 1, "=") &&
		    t->token[i - 2].len == name->len &&
		    !memcmp(token_text(t, i - 2), token_text(t, a->first + 1), name->len) &&
		    is_token(t, i - 3, "kmem_cache_args"))
			break;
	if (i == 2 || i + 1 >= t->nr || t->token[i + 1].line == t->token[i].line)
		return false;
	at = t->token[i].line + 1;
	for (; !is_one_of(t, i, "}") && i < open; i++)
		if (is_token(t, i, "align"))
			return false;
	next = t->file->line[at].now;
	snprintf(line, sizeof(line), "%.*s.align = page_alone_align(0),", (int)strspn(next, " \t"),
		 next);
	add_before(t->file, at, line);
	return true;
}

/* A call with an alignment and flags */
static bool place_call(const struct text *t, size_t open, const struct argument *a)
{
	char align[128], flags[256], new_align[192], more[800], both[1024];
	const struct token *from = &t->token[a[2].first], *to = &t->token[a[3].first];
	struct file *f = t->file;
	u32 indent = columns(f->line[t->token[open].line].now, t->token[open].at + 1);

	if (!argument_text(t, &a[2], align, sizeof(align)))
		return false;
	snprintf(new_align, sizeof(new_align), "page_alone_align(%s)", align);
	if (from->line != to->line || !argument_text(t, &a[3], flags, sizeof(flags))) {
		if (!place_flags(t, &a[3]))
			return false;
		put(f, from->line, from->at, strlen(align), new_align, indent);
		return true;
	}
	if (!add_flag(flags, "SLAB_PAGE_ALONE", more, sizeof(more)))
		return false;
	snprintf(both, sizeof(both), "%s, %s", new_align, more);
	put(f, from->line, from->at, to->at + strlen(flags) - from->at, both, indent);
	return true;
}

/* Where a cache is made */
struct creation {
	const char *cache, *file, *wrong;
	bool found;
};

static void place_cache(const char *name, void *arg)
{
	struct file *f = open_file(source_name(name));
	enum call call = NO_CALL;
	struct argument a[7];
	struct creation *c = arg;
	struct text text;
	size_t i, open;
	bool done;

	if (!f || c->found)
		return;
	read_tokens(&text, f);
	for (i = 0; i + 2 < text.nr && call == NO_CALL; i++)
		call = call_at(&text, i, c->cache);
	c->found = call != NO_CALL;
	if (!c->found)
		goto out;
	open = i;
	c->file = f->name;
	c->wrong = "its objects have pages of their own";
	for (i = open; i < text.nr && !is_one_of(&text, i, ";"); i++)
		if (is_token(&text, i, "SLAB_PAGE_ALONE"))
			goto out;
	/* The string is no token: what is before the first comma is nothing. */
	if (call == MACRO)
		done = place_macro(&text, open - 1);
	else if (call == CREATE && find_arguments(&text, open, a, 4))
		done = place_flags(&text, &a[3]) && place_args(&text, open, &a[2]);
	else
		done = find_arguments(&text, open, a, call == CREATE ? 5 : 7) &&
		       place_call(&text, open, a);
	c->wrong = !done ? "its kmem_cache_create() is not of a simple form" :
		   include_header(f) ? NULL : "its file includes nothing";
out:
	free(text.token);
}

/* The header in a file, or, if that includes nothing, in the one that includes it */
static bool include_header_for(struct file *f, const char *unit)
{
	return include_header(f) || (unit && (f = open_file(unit)) && include_header(f));
}

static const char *place(const char *file, int line, const char *name, bool percpu,
			 const char *group, const char *unit, bool is_extern)
{
	struct found d = { };
	const char *why = find_definition(&d, file, line, name, percpu);

	/* A declaration that says nothing of the place need not be changed. */
	if (!why && (!is_extern || percpu || d.section != SIZE_MAX)) {
		if (percpu)
			place_percpu(&d);
		else
			place_plain(&d, group);
		keep_distance(d.text.file,
			      d.text.token[d.macro == SIZE_MAX ? d.name : d.macro].line);
		if (!include_header_for(d.text.file, unit))
			why = "its file includes nothing, as one that another includes";
	}
	free(d.text.token);
	return why;
}

/**
 * source_open() - edit the source of a kernel, or of a module
 * @path:	its folder
 * @module:	a module's will do
 *
 * Ends the program if it is not one whose linker script knows groups; those of modules all do.
 */
void source_open(const char *path, bool module)
{
	struct file *f;
	size_t i;

	tree = path;
	if (!realpath(path, tree_path))
		fail("--source %s: %s", path, strerror(errno));
	f = open_file(LINKER_SCRIPT);
	if (module)
		return;
	for (i = 0; f && i < f->nr; i++)
		if (!strncmp(f->line[i].now, "#define PAGE_GROUPS(", 20) && open_file(ATTRIBUTES))
			return;
	fail("--source %s: no PAGE_GROUPS in %s: expected a kernel with the series' page layout",
	     path, LINKER_SCRIPT);
}

/**
 * source_place() - give a variable its place
 * @d:		where it is defined
 * @percpu:	each CPU has one
 * @group:	the group whose page it shares, as what stands behind "__page_group", or ALONE
 * @why:	gets the reason why that cannot be done
 * @len:	room there
 *
 * Return: whether it was done.  If not, source_undo() has to be called.
 */
bool source_place(const struct definition *d, bool percpu, const char *group, char *why, size_t len)
{
	const size_t name = strlen(d->file);
	const char *wrong = NULL;

	if (name < 2 || strcmp(d->file + name - 2, ".c"))
		wrong = "it is not defined in a C file, which is compiled once";
	if (!wrong && (strstr(d->file, "uapi/") ||
		       (d->extern_file && strstr(d->extern_file, "uapi/"))))
		wrong = "it is part of the interface to user space";
	if (!wrong)
		wrong = place(d->file, d->line, d->name, percpu, group, d->unit, false);
	if (!wrong && d->extern_file)
		wrong = place(d->extern_file, d->extern_line, d->name, percpu, group, NULL,
			      true);
	snprintf(why, len, "%s", wrong ?: "");
	return !wrong;
}

/**
 * source_place_member() - let a member of a structure have pages of its own
 * @d:		where it is declared
 * @next:	the member behind it; its name is NULL if there is none
 * @why:	gets the reason why that cannot be done
 * @len:	room there
 *
 * Return: whether it was done.  If not, source_undo() has to be called.
 */
bool source_place_member(const struct definition *d, const struct definition *next, char *why,
			 size_t len)
{
	const char *wrong = NULL;

	if (strstr(d->file, "uapi/"))
		wrong = "it is part of the interface to user space";
	if (!wrong)
		wrong = place_member(d);
	if (!wrong && next->name)
		wrong = place_member(next);
	snprintf(why, len, "%s", wrong ?: "");
	return !wrong;
}

/**
 * source_place_cache() - let each object of a slab cache have pages of its own
 * @cache:	its name
 * @file:	gets the file that makes it, which stays until source_close(); or NULL
 * @why:	gets the reason why that cannot be done
 * @len:	room there
 *
 * Return: whether it was done.  If not, source_undo() has to be called.
 */
bool source_place_cache(const char *cache, const char **file, char *why, size_t len)
{
	struct creation c = { .cache = cache };

	dwarf_units(place_cache, &c);
	if (!c.found)
		c.wrong = "no kmem_cache_create() with its name is in the source";
	snprintf(why, len, "%s", c.wrong ?: "");
	*file = c.file;
	return !c.wrong;
}

/**
 * source_name() - a file's name from the top of the source
 * @file:	the same, or from the root, as debugging information has it for modules
 *
 * Return: its name.
 */
const char *source_name(const char *file)
{
	const size_t len = strlen(tree_path);

	return file && !strncmp(file, tree_path, len) && file[len] == '/' ? file + len + 1 : file;
}

/**
 * source_changed() - whether source_write() has anything to write
 *
 * Return: whether anything has changed since source_keep().
 */
bool source_changed(void)
{
	const struct file *f;

	for (f = files; f && !f->changed; f = f->next)
		;
	return f;
}

/**
 * source_add_group() - have an attribute for a group, and the linker lay it apart
 * @group:	its name
 */
void source_add_group(const char *group)
{
	struct file *f = open_file(LINKER_SCRIPT);
	char text[256];
	size_t i;
	int n;

	for (i = 0; strncmp(f->line[i].now, "#define PAGE_GROUPS(", 20); i++)
		;
	/* Before the last line of the macro */
	while (i + 1 < f->nr && *f->line[i].now &&
	       f->line[i].now[strlen(f->line[i].now) - 1] == '\\')
		i++;
	n = snprintf(text, sizeof(text), "\tPAGE_GROUP(.data..page_group.%s, page_align)", group);
	while (columns(text, n) < 72 && n + 2 < (int)sizeof(text))
		text[n++] = '\t';
	text[n++] = '\\';
	text[n] = 0;
	add_before(f, i, text);

	/* Before the end of the header, and the blank before that */
	f = open_file(ATTRIBUTES);
	for (i = f->nr; i > 0 && (!*f->line[i - 1].now || !strcmp(f->line[i - 1].now, "#endif"));
	     i--)
		if (!*f->line[i - 1].now && i < f->nr)
			break;
	snprintf(text, sizeof(text), "#define __page_group_%s\t__page_group(%s)", group, group);
	add_before(f, i ? i - 1 : 0, text);
}

/* How many lines of a diff a line is */
static size_t pieces(const char *s)
{
	size_t n = s ? 1 : 0;

	for (; s && *s; s++)
		n += *s == '\n';
	return n;
}

static void write_line(FILE *out, char sign, const char *s)
{
	if (!s)
		return;
	fputc(sign, out);
	for (; *s; s++) {
		fputc(*s, out);
		if (*s == '\n')
			fputc(sign, out);
	}
	fputc('\n', out);
}

static bool differs(const struct line *l)
{
	return !l->now || !l->kept || strcmp(l->now, l->kept);
}

/* Where a hunk ends whose first line that differs is @i */
static size_t hunk_end(const struct file *f, size_t i)
{
	size_t end = i + 1, same = 0;

	for (i++; i < f->nr && same < 2 * CONTEXT; i++) {
		same = differs(&f->line[i]) ? 0 : same + 1;
		if (!same)
			end = i + 1;
	}
	return end + CONTEXT < f->nr ? end + CONTEXT : f->nr;
}

static void write_hunk(const struct file *f, size_t start, size_t end, FILE *out)
{
	size_t i, j, old_at = 1, new_at = 1, old_nr = 0, new_nr = 0;

	for (i = 0; i < end; i++) {
		size_t *old = i < start ? &old_at : &old_nr, *new = i < start ? &new_at : &new_nr;

		*old += pieces(f->line[i].kept);
		*new += pieces(f->line[i].now);
	}
	fprintf(out, "@@ -%zu,%zu +%zu,%zu @@\n", old_at, old_nr, new_at, new_nr);
	for (i = start; i < end; i = j) {
		for (j = i; j < end && differs(&f->line[j]); j++)
			write_line(out, '-', f->line[j].kept);
		for (; i < j; i++)
			write_line(out, '+', f->line[i].now);
		if (j < end)
			write_line(out, ' ', f->line[j++].now);
	}
	if (end == f->nr && !f->last_ends)
		fprintf(out, "\\ No newline at end of file\n");
}

/**
 * source_write() - what has changed since source_keep(), as a diff
 * @out:	gets it
 */
void source_write(FILE *out)
{
	const struct file *f;
	size_t i, start;

	for (f = files; f; f = f->next) {
		if (!f->changed)
			continue;
		fprintf(out, "diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n", f->name, f->name,
			f->name, f->name);
		for (i = 0; i < f->nr; i++) {
			if (!differs(&f->line[i]))
				continue;
			start = i < CONTEXT ? 0 : i - CONTEXT;
			i = hunk_end(f, i);
			write_hunk(f, start, i, out);
		}
	}
}

/**
 * source_keep() - let what has changed be how it is
 */
void source_keep(void)
{
	struct file *f;
	size_t i;

	for (f = files; f; f = f->next) {
		f->changed = false;
		for (i = 0; i < f->nr; i++) {
			free(f->line[i].kept);
			f->line[i].kept = strdup(f->line[i].now);
		}
	}
}

/**
 * source_undo() - take back what has changed since source_keep()
 */
void source_undo(void)
{
	struct file *f;
	size_t i, n;

	for (f = files; f; f = f->next) {
		for (i = n = 0; i < f->nr; i++) {
			free(f->line[i].now);
			if (!f->line[i].kept)
				continue;
			f->line[n] = f->line[i];
			f->line[n].now = strdup(f->line[n].kept);
			n++;
		}
		f->nr = n;
		f->changed = false;
	}
}

/**
 * source_close() - forget the source
 */
void source_close(void)
{
	struct file *f;
	size_t i;

	while ((f = files)) {
		for (i = 0; i < f->nr; i++) {
			free(f->line[i].now);
			free(f->line[i].kept);
		}
		files = f->next;
		free(f->line);
		free(f->name);
		free(f);
	}
}
