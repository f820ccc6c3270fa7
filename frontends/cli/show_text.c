/* SPDX-License-Identifier: Apache-2.0
 * show_text.c - patterns drawn with characters, a row per query. */
#include "frontends/cli/show.h"

enum { MOST_ROWS = 40, MOST_COLUMNS = 64 };

static void print_grid(const char *what, const lap_picture_grid *g)
{
    printf("%s ", what);
    for (uint32_t i = 0; i < g->n; i++) {
        printf("%s%s=%lld", i > 0 ? " " : "(", g->axis[i].name, (long long)g->axis[i].size);
    }
    fputs(g->n > 0 ? ")" : "one", stdout);
}

/* Of a block of pairs: all, some or none. */
static char mark_of(const lap_picture *p, const lap_picture_plane *plane, int64_t query, int64_t token,
                    int64_t rows, int64_t columns)
{
    int64_t n = 0, seen = 0;
    for (int64_t q = query; q < query + rows && q < p->queries.size; q++) {
        for (int64_t t = token; t < token + columns && t < p->tokens.size; t++, n++) {
            seen += lap_picture_sees(p, plane, q, t);
        }
    }
    return seen == 0 ? '.' : seen == n ? '#' : '+';
}

static void print_plane(const lap_picture *p, const lap_picture_plane *plane)
{
    double all = (double)p->queries.size * (double)p->tokens.size;
    int64_t rows = (p->queries.size + MOST_ROWS - 1) / MOST_ROWS;
    int64_t columns = (p->tokens.size + MOST_COLUMNS - 1) / MOST_COLUMNS;
    printf("  %s%s%.1f %% of %.0f pairs", plane->label, *plane->label != '\0' ? ": " : "",
           100.0 * plane->pairs / all, all);
    if (rows > 1 || columns > 1) {
        printf("; a mark is %lld queries by %lld keys", (long long)rows, (long long)columns);
    }
    putchar('\n');
    for (int64_t q = 0; q < p->queries.size; q += rows) {
        printf("  %6lld  ", (long long)q);
        for (int64_t t = 0; t < p->tokens.size; t += columns) {
            putchar(mark_of(p, plane, q, t, rows, columns));
            putchar(t + columns < p->tokens.size ? ' ' : '\n');
        }
    }
}

static void print_picture(lap_setup *s, const lap_picture *p)
{
    printf("%s: attend", lap_show_place(s, p->loc));
    if (p->n_parts > 1) {
        printf(", part %u of %u", p->part, p->n_parts);
    }
    if (p->n_times > 1) {
        printf(", %u times", p->n_times);
    }
    print_grid("; queries", &p->queries);
    print_grid(", keys", &p->tokens);
    puts(p->is_from_data ? "; from data" : "");
    if (p->missing != NULL) {
        printf("  %s\n", p->missing);
    }
    for (uint32_t i = 0; i < p->n_planes; i++) {
        print_plane(p, &p->planes[i]);
    }
}

void lap_show_text(lap_setup *s, const lap_pictures *pictures)
{
    for (uint32_t i = 0; i < pictures->n; i++) {
        fputs(i > 0 ? "\n" : "", stdout);
        print_picture(s, &pictures->at[i]);
    }
    puts(pictures->n > 0 ? "\n  # attended   . masked   + some of the pairs" : "the model has no attend");
}
