/* Plots as SVG. Colours are classes of the page's style sheet, so that they follow light and dark. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/compare_report.h"

enum { WIDTH = 640, HEIGHT = 260, LEFT = 52, RIGHT = 16, TOP = 14, BOTTOM = 44, TICKS = 5 };

static const double plot_width = WIDTH - LEFT - RIGHT;
static const double plot_height = HEIGHT - TOP - BOTTOM;

static void
begin(struct strbuf *page, const char *title)
{
    strbuf_printf(page, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", WIDTH, HEIGHT, title);
}

static void
text(struct strbuf *page, double x, double y, const char *anchor, const char *words)
{
    strbuf_printf(page, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>", x, y, anchor, words);
}

static double
place_y(double value, double low, double high)
{
    double share = high > low ? (value - low) / (high - low) : 0;

    return TOP + plot_height * (1 - (share < 0 ? 0 : share > 1 ? 1 : share));
}

/* Lines across, with their figures. */
static void
grid(struct strbuf *page, double low, double high, const char *format_digits)
{
    for (int i = 0; i <= TICKS; i++) {
        double value = low + (high - low) * i / TICKS, y = place_y(value, low, high);
        char number[32];
        (void)snprintf(number, sizeof number, "%.*f", format_digits[0] - '0', value);
        strbuf_printf(page, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT,
                      y, y);
        text(page, LEFT - 6, y + 4, "end", number);
    }
}

static void
bar(struct strbuf *page, const char *class, double x, double width, double value, double low, double high)
{
    double top = place_y(value, 0, 1), bottom = place_y(0, 0, 1), middle = x + width / 2;
    char number[16];

    if (!isfinite(value))
        return;
    strbuf_printf(page, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\"/>", class, x,
                  top, width, bottom - top);
    strbuf_printf(page, "<line class=\"whisker\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", middle, middle,
                  place_y(low, 0, 1), place_y(high, 0, 1));
    (void)snprintf(number, sizeof number, "%.2f", value);
    text(page, middle, place_y(high, 0, 1) - 4, "middle", number);
}

void
plot_bars(struct strbuf *page, const struct plot_bar *bars, size_t count)
{
    double slot = plot_width / (double)count, width = slot * 0.3;

    begin(page, "quality of both models");
    grid(page, 0, 1, "1");
    for (size_t i = 0; i < count; i++) {
        const struct plot_bar *b = &bars[i];
        double x = LEFT + slot * (double)i;
        bar(page, "source", x + slot * 0.18, width, b->source, b->source_low, b->source_high);
        bar(page, "target", x + slot * 0.52, width, b->target, b->target_low, b->target_high);
        text(page, x + slot / 2, HEIGHT - BOTTOM + 18, "middle", b->label);
    }
    strbuf_puts(page, "</svg>\n");
}

void
plot_histogram(struct strbuf *page, const struct plot_series *series, size_t series_count, size_t count, double low,
               double high, const char *axis)
{
    double most = 0;
    char number[32];

    for (size_t s = 0; s < series_count; s++) {
        double sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += series[s].values[i];
        for (size_t i = 0; sum > 0 && i < count; i++)
            most = fmax(most, series[s].values[i] / sum);
    }
    begin(page, axis);
    grid(page, 0, most, "2");
    for (size_t s = 0; s < series_count; s++) {
        double sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += series[s].values[i];
        if (sum <= 0)
            continue;
        strbuf_printf(page, "<path class=\"area %s\" d=\"M%d %.1f", series[s].class, LEFT, place_y(0, 0, most));
        for (size_t i = 0; i < count; i++) {
            double y = place_y(series[s].values[i] / sum, 0, most);
            strbuf_printf(page, "L%.1f %.1fL%.1f %.1f", LEFT + plot_width * (double)i / (double)count, y,
                          LEFT + plot_width * (double)(i + 1) / (double)count, y);
        }
        strbuf_printf(page, "L%d %.1fZ\"/>", WIDTH - RIGHT, place_y(0, 0, most));
    }
    for (int i = 0; i <= TICKS; i++) {
        (void)snprintf(number, sizeof number, "%.2f", low + (high - low) * i / TICKS);
        text(page, LEFT + plot_width * i / TICKS, HEIGHT - BOTTOM + 16, "middle", number);
    }
    text(page, LEFT + plot_width / 2, HEIGHT - 8, "middle", axis);
    strbuf_puts(page, "</svg>\n");
}

void
plot_line(struct strbuf *page, const struct plot_point *points, size_t count, const char *x_axis, const char *y_axis)
{
    double low = 1, x_high = 0;
    char number[32];

    for (size_t i = 0; i < count; i++) {
        low = fmin(low, points[i].y);
        x_high = fmax(x_high, points[i].x);
    }
    low = fmax(0, floor(low * 10 - 0.5) / 10);
    x_high = x_high > 0 ? x_high * 1.1 : 1;
    begin(page, y_axis);
    grid(page, low, 1, "2");
    strbuf_puts(page, "<polyline class=\"line target\" points=\"");
    for (size_t i = 0; i < count; i++)
        strbuf_printf(page, "%.1f,%.1f ", LEFT + plot_width * points[i].x / x_high, place_y(points[i].y, low, 1));
    strbuf_puts(page, "\"/>");
    for (size_t i = 0; i < count; i++) {
        double x = LEFT + plot_width * points[i].x / x_high, y = place_y(points[i].y, low, 1);
        strbuf_printf(page, "<circle class=\"dot target\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", x, y);
        text(page, x, y + 18, "middle", points[i].label);
    }
    for (int i = 0; i <= TICKS; i++) {
        (void)snprintf(number, sizeof number, "%.2f", x_high * i / TICKS);
        text(page, LEFT + plot_width * i / TICKS, HEIGHT - BOTTOM + 16, "middle", number);
    }
    text(page, LEFT + plot_width / 2, HEIGHT - 8, "middle", x_axis);
    strbuf_puts(page, "</svg>\n");
}
