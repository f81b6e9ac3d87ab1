"""Labels that users write, and that more than one reader took for something else."""

LABELS = [
    "IVF [nlist=100]",
    "old [/usr/bin]",
    "[bold]x[/bold] \\[y]",
    ":smile: {0} %s",
    "_hidden",
    "$x^2$ and $y$",
    '<b>&amp;</b> "q"',
    "</script><script>alert(1)</script>",
    "日本語のラベル",
    "😀 👨\u200d👩\u200d👧",
    "שלום עולם",
    "turned \u202e round",
    "escape \x1b[31m red",
    "=1+1",
    "a,b;c",
    "long " * 59 + "words",
    "W" * 300,
]
