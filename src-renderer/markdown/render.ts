import MarkdownIt from 'markdown-it';

/** The only addresses that an entry may lead to. */
const ALLOWED = /^(?:https?:\/\/|mailto:)/i;

const markdown = new MarkdownIt('default', { html: false, linkify: false, breaks: true, typographer: false });
markdown.validateLink = (url) => ALLOWED.test(url.trim());
// Pictures are never loaded: fetching one would tell its server who reads this, and when.
markdown.renderer.rules.image = (tokens, index) => {
  const token = tokens[index];
  const words = token?.content || 'picture';
  const address = String(token?.attrGet('src') ?? '');
  return `<span class="picture">${markdown.utils.escapeHtml(`[${words}] ${address}`)}</span>`;
};
markdown.renderer.rules.link_open = (tokens, index, options, _env, self) => {
  const token = tokens[index];
  token?.attrSet('rel', 'noopener noreferrer');
  token?.attrSet('target', '_blank');
  return self.renderToken(tokens, index, options);
};
// Every block finds its own direction, so that Hebrew below English reads from its own side.
for (const name of ['paragraph_open', 'blockquote_open', 'list_item_open', 'td_open', 'th_open']) {
  markdown.renderer.rules[name] = (tokens, index, options, _env, self) => {
    tokens[index]?.attrSet('dir', 'auto');
    return self.renderToken(tokens, index, options);
  };
}

// An entry is no chapter: its headings are lines that stand out, so that the headings of the page keep their order.
markdown.renderer.rules.heading_open = () => '<p class="heading" dir="auto">';
markdown.renderer.rules.heading_close = () => '</p>\n';

/** Markdown as HTML. Markup in the text shows as text; what comes out is still cleaned before it meets the page. */
export function renderMarkdown(text: string): string {
  return markdown.render(text);
}
