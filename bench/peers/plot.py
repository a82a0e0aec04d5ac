"""The ratios of bench/run-peers as bars: how many times better reembed is than its peers, on a scale of powers of two."""
import html
import math

WIDTH, LEFT, RIGHT, BAR, GAP, LINE = 840, 200, 190, 14, 14, 20
STYLE = """
.w{fill:#14181d}text{font:13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d4dae1}
.h{font-weight:bold;fill:#fff}.d{fill:#8792a0}.l{stroke:#3a434e}.one{stroke:#8792a0}.a{fill:#57c785}.b{fill:#2f7d54}.c{fill:#5aa7e0}
.worse{fill:#f47067}"""


def write_svg(path, tables):
    """`tables`: title -> rows of (heading, unit, digits, ours, theirs, times better)."""
    titles = list(tables)
    top = 44 + LINE * len(titles) + 40
    headings = [row[0] for row in tables[titles[0]]]
    ratios = [row[5] for rows in tables.values() for row in rows]
    low = min(-1, math.floor(math.log2(min(ratios))))
    high = max(1, math.ceil(math.log2(max(ratios))))
    step = (WIDTH - LEFT - RIGHT) / (high - low)

    def across(ratio):
        return LEFT + (math.log2(ratio) - low) * step

    block = len(titles) * (BAR + 2) + GAP
    height = top + len(headings) * block + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'role="img" aria-label="How many times better reembed is than its peers">',
           f"<style>{STYLE}\n</style>", f'<rect class="w" width="{WIDTH}" height="{height}" rx="8"/>',
           '<text x="20" y="26" class="h">How many times better reembed is</text>']
    for number, title in enumerate(titles):
        out += [f'<rect class="{"abc"[number % 3]}" x="20" y="{40 + LINE * number}" width="11" height="11"/>',
                f'<text x="40" y="{50 + LINE * number}">than {html.escape(title)}</text>']
    for power in range(low, high + 1):
        x = across(2.0 ** power)
        label = f"{2 ** power}" if power >= 0 else f"1/{2 ** -power}"
        out += [f'<line class="{"one" if power == 0 else "l"}" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 10}" '
                f'y2="{height - 20}"/>',
                f'<text class="d" x="{x:.1f}" y="{top - 16}" text-anchor="middle">{label}</text>']
    for number, heading in enumerate(headings):
        y = top + number * block
        out.append(f'<text x="20" y="{y + BAR * len(titles) / 2 + 6:.0f}">{html.escape(heading)}</text>')
        for place, title in enumerate(titles):
            _, unit, digits, ours, theirs, ratio = tables[title][number]
            start, end = sorted((across(1), across(ratio)))
            style = "abc"[place % 3] if ratio >= 1 else "worse"
            bar = y + place * (BAR + 2)
            out += [f'<rect class="{style}" x="{start:.1f}" y="{bar}" width="{max(end - start, 1):.1f}" '
                    f'height="{BAR}"/>',
                    f'<text class="d" x="{WIDTH - RIGHT + 12}" y="{bar + 12}">{ours:,.{digits}f} : '
                    f'{theirs:,.{digits}f}</text>']
    out.append("</svg>")
    path.write_text("\n".join(out) + "\n")
