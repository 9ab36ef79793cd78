// Renders random Markdown; returns what went wrong.
async () => {
    const script = document.querySelector('script[type=module]').src;
    const { markdown } = await import(script.replace('main.js', 'markdown.js'));
    const allowed = new Set('DIV H3 H4 H5 H6 P BR HR UL OL LI INPUT BLOCKQUOTE PRE CODE SPAN BUTTON STRONG EM DEL A TABLE THEAD TBODY TR TH TD svg path'.split(' '));
    const pieces = ['*', '**', '_', '`', '```', '\n', '\n\n', '  ', '- ', '1. ', '> ', '# ', '|', '|--|', '[', '](', ')', '![', '<', '>', '\\', '~~', 'a', 'word ', 'http://x.y', 'javascript:', 'https://a.b/(c)', '&lt;', '"', "'", '\t', '[x] ', '\u202e', '\ud83d'];
    let seed = 7;
    const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
    const problems = [];
    const look = (text) => {
        const started = performance.now();
        const element = markdown(text);
        if (performance.now() - started > 1000) problems.push(['slow', text.slice(0, 80)]);
        for (const one of element.querySelectorAll('*')) {
            if (!allowed.has(one.tagName)) problems.push([one.tagName, text]);
            if (one.href && !/^(https?:|mailto:)/.test(one.href)) problems.push([one.href, text]);
        }
    };
    for (let n = 0; n < 3000; n += 1) look(Array.from({ length: random(40) }, () => pieces[random(pieces.length)]).join(''));
    for (const piece of pieces) look(piece.repeat(3000));
    for (const nest of ['> ', '- ', '  - ', '**a ', '[', '*_']) look(nest.repeat(500) + 'x');
    look(Array.from({ length: 300 }, (_, n) => ' '.repeat(n) + '- x').join('\n'));
    return problems.slice(0, 5);
}
