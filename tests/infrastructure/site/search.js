// Asks the search of the built site what a reader's browser asks it: node search.js SITE LANGUAGE_FOLDER QUERY…
// It runs the theme's own worker on the index of that language, and prints the pages for each query, best first, as JSON.
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [site, folder, ...queries] = process.argv.slice(2);
const workers = path.join(site, 'assets/javascripts/workers');
const worker = fs.readdirSync(workers).find((name) => /^search\..*\.js$/.test(name));
const index = JSON.parse(fs.readFileSync(path.join(site, folder, 'search/search_index.json'), 'utf8'));

let listener;
let answer;
const scope = vm.createContext({ console, addEventListener: (_, heard) => { listener = heard; }, postMessage: (message) => answer(message) });
scope.self = scope;
scope.importScripts = (...scripts) => scripts.forEach((script) => run(path.join(workers, script)));
const run = (file) => vm.runInContext(fs.readFileSync(file, 'utf8'), scope);
const ask = (type, data) => new Promise((resolve) => { answer = resolve; listener({ data: { type, data } }); });

(async () => {
  run(path.join(workers, worker));
  await ask(0, { ...index, options: {} });
  const pages = {};
  for (const query of queries) {
    const { data } = await ask(2, query);
    pages[query] = data.items.map((sections) => sections[0].location.split('#')[0]);
  }
  console.log(JSON.stringify(pages));
})();
