// The words of a text without spaces, as the search looks for them: at each place the longest that the index has. What no page has
// is passed over. The theme's own cut gives up at the first such word, and never looks at the last character.
const words = (text, index) => {
  const cut = [];
  for (let start = 0, end; start < text.length; start = end) {
    for (end = text.length; end > start + 1 && !(text.slice(start, end) in index); end--);
    if (text.slice(start, end) in index) cut.push(text.slice(start, end));
  }
  return cut.length ? cut : [text];
};
