"""Charts as SVG text, drawn on the server: no script, no style attribute, so a strict CSP holds.

Pure: figures in, markup out. Colours come from the style sheet by class, except on the scale of
`api.charts.palette`, which is the same in every theme. Each chart carries its reading as text.
"""
