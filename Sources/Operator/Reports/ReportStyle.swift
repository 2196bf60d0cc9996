// SPDX-License-Identifier: Apache-2.0

/// The style sheet of a report: light and dark, and legible without colours.
enum ReportStyle {
    static let sheet: StaticString = """

        :root { --ink: #1c2330; --soft: #5a6576; --paper: #ffffff; --line: #d5dbe3; --band: #eef1f5;
          --forward: #2f6fb3; --back: #a3541a; --good: #1d7a46; --bad: #b3261e; --window: #f6c64455; --edge: #a67c00; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adba; --paper: #14181f; --line: #343c48;
          --band: #1e242d; --forward: #6aa9ea; --back: #e09a5f; --good: #5cc98b; --bad: #f2857d; --window: #f6c64430; --edge: #d9ab2e; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
        main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 64px; }
        h1 { font-size: 1.5rem; margin: 0 0 16px; overflow-wrap: anywhere; }
        h2 { font-size: 1.1rem; margin: 32px 0 8px; }
        .summary { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 8px; margin: 0; }
        .summary div { background: var(--band); border-radius: 6px; padding: 8px 12px; overflow-wrap: anywhere; }
        .summary dt { color: var(--soft); font-size: .85rem; }
        .summary dd { margin: 0; }
        .summary .strong dd, .summary .outcome dd { font-size: 1.25rem; font-weight: 600; }
        .outcome { border-left: 6px solid var(--forward); }
        .outcome.done { border-color: var(--good); }
        .outcome.rolled-back, .outcome.rolling-back, .outcome.paused, .outcome.awaiting-approval { border-color: var(--back); }
        .outcome.waiting, .outcome.refused { border-color: var(--bad); }
        figure { margin: 32px 0 0; }
        figcaption { font-weight: 600; font-size: 1.1rem; margin-bottom: 8px; }
        .wide { overflow-x: auto; }
        table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
        th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
        thead th { color: var(--soft); font-weight: 500; font-size: .85rem; }
        tbody th { font-weight: 500; }
        td { overflow-wrap: anywhere; white-space: pre-line; }
        ul.plain { list-style: none; padding: 0; margin: 0; }
        ul.plain p { margin: 6px 0 0; }
        dd, li, p { white-space: pre-line; }
        .time { color: var(--soft); font-variant-numeric: tabular-nums; }
        .wide svg { min-width: 640px; }
        svg { width: 100%; height: auto; display: block; font: 11px system-ui, sans-serif; }
        svg text { fill: var(--ink); }
        svg .soft { fill: var(--soft); }
        svg .window { fill: var(--window); }
        svg .edge { stroke: var(--edge); stroke-width: 1.5; stroke-dasharray: 4 3; }
        svg .grid { stroke: var(--line); }
        svg .lane { stroke: var(--line); stroke-width: 1; }
        svg .band { fill: var(--band); }
        svg .forward { fill: var(--forward); }
        svg .back { fill: var(--back); }
        svg .failed { fill: var(--bad); }
        svg .onbar { fill: var(--paper); }
        svg .reached { fill: var(--good); }
        svg .cross { stroke: var(--bad); stroke-width: 2.5; fill: none; }
        svg .away { fill: none; stroke: var(--bad); stroke-width: 2; }

        """
}
