// SPDX-License-Identifier: GPL-2.0-only
/*
 * A profile as a picture: the dearest pages over time, a square darker the more faults it has, and
 * from which node to which pages went.  A page comes from whose fault was the one before, and at
 * first from its home.  The squares of a row are compared with the darkest of all rows.
 */
#include <stdlib.h>

#include "faultprof.h"

#define ROWS	40
#define SLOTS	120	/* of time */
#define CELL	10	/* pixels */
#define LEFT	260
#define TOP	40
#define LEVELS	6

/* One hue from light to dark, so that more is darker in print, too */
static const char *const colours[LEVELS] = {
	"#f2f2f2", "#d0e1f2", "#94c4df", "#4a98c9", "#1764ab", "#08306b"
};

/* By the logarithm: a fault is seen beside a thousand. */
static u32 level(u64 n, u64 most)
{
	u32 bits = 0, all = 1;

	if (!n)
		return 0;
	for (; n > 1; n >>= 1)
		bits++;
	for (; most > 1; most >>= 1)
		all++;
	return 1 + bits * (LEVELS - 1) / all;
}

static void write_text(FILE *f, int x, int y, const char *anchor, const char *text)
{
	fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">", x, y, anchor);
	for (; *text; text++) {
		if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
			fprintf(f, "&#%d;", *text);
		else if ((unsigned char)*text >= ' ')
			fputc(*text, f);
	}
	fprintf(f, "</text>\n");
}

static void write_cell(FILE *f, int x, int y, u32 colour, const char *title)
{
	fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\">", x, y, CELL,
		CELL, colours[colour]);
	fprintf(f, "<title>%s</title></rect>\n", title);
}

static void write_pages(const struct profile *p, const struct faults *f, size_t rows, FILE *out)
{
	u64 (*cells)[SLOTS] = xzalloc(rows * sizeof(*cells)), start = UINT64_MAX, most = 1;
	char text[128];
	size_t i, j, k;

	for (i = 0; i < f->nr; i++)
		start = f->fault[i].time_ns < start ? f->fault[i].time_ns : start;
	for (i = 0; i < rows; i++) {
		for (j = p->pages[i].first; j < p->pages[i].end; j++) {
			k = (double)(f->fault[j].time_ns - start) / (p->span_ns + 1) * SLOTS;
			most = ++cells[i][k] > most ? cells[i][k] : most;
		}
	}
	for (i = 0; i < rows; i++) {
		const struct page *page = &p->pages[i];
		const struct symbol *s = page->spots[0].object;

		snprintf(text, sizeof(text), "%.30s %llu", s ? s->name : "page", page->nr);
		write_text(out, LEFT - CELL, TOP + (int)(i + 1) * CELL, "end", text);
		for (k = 0; k < SLOTS; k++) {
			snprintf(text, sizeof(text), "%llu faults from %.3f s", cells[i][k],
				 k * (p->span_ns / 1e9) / SLOTS);
			write_cell(out, LEFT + (int)k * CELL, TOP + (int)i * CELL,
				   level(cells[i][k], most), text);
		}
	}
	free(cells);
}

static void write_nodes(const struct profile *p, const struct faults *f, int top, FILE *out)
{
	u64 *moved = xzalloc((size_t)p->nr_nodes * p->nr_nodes * sizeof(*moved)), most = 1;
	char text[128];
	size_t i;
	u32 a, b;

	for (i = 0; i < f->nr; i++) {
		const bool first = !i || f->fault[i - 1].page != f->fault[i].page;

		a = first ? f->fault[i].home : f->fault[i - 1].node;
		b = f->fault[i].node;
		/* Who has read it, and writes now, has it. */
		if (a == b)
			continue;
		if (++moved[a * p->nr_nodes + b] > most)
			most = moved[a * p->nr_nodes + b];
	}
	for (a = 0; a < p->nr_nodes; a++) {
		snprintf(text, sizeof(text), "from node %u", a);
		write_text(out, LEFT - CELL, top + (int)(a + 1) * 2 * CELL, "end", text);
		for (b = 0; b < p->nr_nodes; b++) {
			snprintf(text, sizeof(text), "%llu from node %u to node %u",
				 moved[a * p->nr_nodes + b], a, b);
			write_cell(out, LEFT + (int)b * 2 * CELL, top + (int)a * 2 * CELL + CELL,
				   level(moved[a * p->nr_nodes + b], most), text);
		}
	}
	free(moved);
}

/**
 * svg_write() - write the picture to a file, whole or not at all
 * @p:		profile
 * @f:		its faults, as profile_make() has sorted them
 * @path:	the file
 */
void svg_write(const struct profile *p, const struct faults *f, const char *path)
{
	const size_t rows = p->nr_pages < ROWS ? p->nr_pages : ROWS;
	const int nodes = TOP + (int)(rows + 5) * CELL;
	FILE *out = file_begin("svg", path);
	char text[128];

	fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" ",
		LEFT + (SLOTS + 2) * CELL, nodes + (int)(p->nr_nodes + 1) * 2 * CELL);
	fprintf(out, "font-family=\"sans-serif\" font-size=\"%d\">\n", CELL);
	fprintf(out, "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n");
	snprintf(text, sizeof(text), "%llu faults in %.3f s; the dearest %zu of %zu pages",
		 count_faults(&p->all), p->span_ns / 1e9, rows, p->nr_pages);
	write_text(out, LEFT, TOP / 2, "start", text);
	write_pages(p, f, rows, out);
	write_text(out, LEFT, nodes, "start", "pages that went, from row to column");
	write_nodes(p, f, nodes, out);
	fprintf(out, "</svg>\n");
	file_end(out, "svg", path);
}
