/* cli/compare_report.h - a comparison (coordinator/compare_report.c) for people: in words, and as a page.
 */
#ifndef REEMBED_CLI_COMPARE_REPORT_H
#define REEMBED_CLI_COMPARE_REPORT_H

#include <cjson/cJSON.h>

#include "base/strbuf.h"
#include "cli/output.h"

enum rc compare_print(const struct output *out, const cJSON *report, struct err *err);

/* Writes one HTML page that needs nothing else: plots are SVG inside it, light and dark by the reader's choice, no
 * scripts. It holds statistics only, no texts and no ids. RC_INVALID/ERR_USAGE when the file can't be written. */
enum rc compare_write_page(const cJSON *report, const char *path, struct err *err);

/* --- plots; each appends one <svg> --- */

struct plot_bar {
    const char *label;
    double source, source_low, source_high; /* NaN: none */
    double target, target_low, target_high;
};
void plot_bars(struct strbuf *page, const struct plot_bar *bars, size_t count);

struct plot_series {
    const char *class; /* of the colour: "source", "target", "random" */
    const double *values;
};
/* Steps over `count` bins between low and high, each series as a share of its own sum. */
void plot_histogram(struct strbuf *page, const struct plot_series *series, size_t series_count, size_t count,
                    double low, double high, const char *axis);

struct plot_point {
    double x, y;
    char label[16];
};
void plot_line(struct strbuf *page, const struct plot_point *points, size_t count, const char *x_axis,
               const char *y_axis);

#endif
