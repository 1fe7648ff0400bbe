// SPDX-License-Identifier: GPL-3.0-or-later

// Writes pictures of the dashboard, light and dark, from the metrics in a Prometheus: see "make dashboard-pictures".

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: {
    prometheus: { type: 'string' },
    range: { type: 'string', default: '30m' },
    to: { type: 'string', default: '' },
    bundle: { type: 'string' }, // the folder with page.js, page.css and node_modules
    out: { type: 'string', default: 'docs' },
  },
});
const usage = 'usage: draw.mjs --prometheus URL --bundle DIR [--range 30m] [--to 2006-01-02T15:04:05Z] [--out docs]';
const [, count, unit] = /^(\d+)([smhd])$/.exec(flags.range) ?? [];
const to = Math.floor((flags.to ? Date.parse(flags.to) : Date.now()) / 1000) * 1000;
if (!flags.prometheus || !flags.bundle || !count || Number.isNaN(to)) {
  console.error(usage);
  process.exit(2);
}
const from = to - count * { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 }[unit];
const width = 1600;
const sharp = createRequire(resolve(flags.bundle, 'package.json'))('sharp');
const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="page.css"><script type="module" src="page.js"></script>`;

const files = {
  '/page.js': ['text/javascript', join(flags.bundle, 'page.js')],
  '/page.css': ['text/css', join(flags.bundle, 'page.css')],
  '/dashboard.json': ['application/json', new URL('../../deploy/grafana/winery.json', import.meta.url)],
  '/public/fonts/inter/Inter-Regular.woff2': ['font/woff2', join(flags.bundle, 'node_modules/@fontsource/inter/files/inter-latin-400-normal.woff2')],
  '/public/fonts/inter/Inter-Medium.woff2': ['font/woff2', join(flags.bundle, 'node_modules/@fontsource/inter/files/inter-latin-500-normal.woff2')],
};

/** answer serves the page, the files that it needs, and what Prometheus answers. */
async function answer({ url }, response) {
  const { pathname, search } = new URL(url, 'http://localhost');
  try {
    const [type, content] = await find(pathname, search);
    response.setHeader('Content-Type', type).end(content);
  } catch (error) {
    response.writeHead(500).end(JSON.stringify({ error: `${error.message} ${error.cause?.message ?? ''}` }));
  }
}

async function find(pathname, search) {
  if (pathname.startsWith('/api/')) {
    const answered = await fetch(flags.prometheus.replace(/\/$/, '') + pathname + search);
    return ['application/json', await answered.text()];
  }
  const icon = /\/img\/icons\/[a-z]+\/[a-z0-9-]+\.svg$/.exec(pathname);
  if (icon) {
    return ['image/svg+xml', await readFile(join(flags.bundle, 'node_modules/@grafana/ui/dist/public', icon[0]))];
  }
  if (pathname === '/') {
    return ['text/html', page];
  }
  const [type, file] = files[pathname] ?? [];
  if (!file) {
    throw new Error('there is no such file');
  }
  return [type, await readFile(file)];
}

/** startBrowser starts a Chromium without a screen. It is told what to do by JSON messages that end with a zero byte. */
function startBrowser(profile) {
  const args = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--hide-scrollbars'];
  const chromium = spawn('chromium', [...args, '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  });
  const [, , , input, output] = chromium.stdio;
  const waiting = new Map();
  let last = 0;
  let text = '';
  input.on('error', () => {}); // the end of Chromium is enough
  output.setEncoding('utf8').on('data', (chunk) => {
    const messages = (text + chunk).split('\0');
    text = messages.pop();
    for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
      waiting.get(id)?.(error ? Promise.reject(new Error(error.message)) : result);
    }
  });
  const call = (method, params = {}, sessionId = undefined) =>
    new Promise((answered) => {
      waiting.set(++last, answered);
      input.write(JSON.stringify({ id: last, method, params, sessionId }) + '\0');
    });
  const ended = new Promise((done) => chromium.on('exit', () => done(new Error('chromium ended'))).on('error', done));
  return { ended, call: (...of) => Promise.race([call(...of), ended.then((why) => Promise.reject(why))]) };
}

/** picture returns a picture of a page, once it is shown. */
async function picture(browser, url) {
  const { targetId } = await browser.call('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await browser.call('Target.attachToTarget', { targetId, flatten: true });
  const call = (method, params) => browser.call(method, params, sessionId);
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) {
      throw new Error((exceptionDetails.exception?.description ?? exceptionDetails.text).split('\n')[0]);
    }
    return result.value;
  };
  const size = (height) => call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
  await size(1000);
  await call('Page.navigate', { url });
  const loaded = "new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))";
  await evaluate(`${loaded}.then(() => shown)`);
  await size(await evaluate('document.body.offsetHeight'));
  await evaluate('quiet()'); // a panel draws the rest of its content once it is in the window
  const { data } = await call('Page.captureScreenshot', { format: 'png' });
  await browser.call('Target.closeTarget', { targetId }); // of several, those in the background do not draw
  // With a palette, and its nearest colors, a picture has less than half the bytes.
  return sharp(Buffer.from(data, 'base64')).removeAlpha().png({ palette: true, dither: 0, effort: 10 }).toBuffer();
}

const server = createServer(answer);
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const profile = await mkdtemp(join(tmpdir(), 'dashboard-pictures-'));
const browser = startBrowser(profile);
try {
  for (const theme of ['light', 'dark']) {
    const file = join(flags.out, `dashboard-${theme}.png`);
    await writeFile(file, await picture(browser, `http://127.0.0.1:${server.address().port}/?theme=${theme}&from=${from}&to=${to}`));
    console.log(`wrote ${file}`);
  }
} catch (error) {
  console.error(`the dashboard cannot be drawn from ${flags.prometheus}: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.call('Browser.close').catch(() => {});
  await browser.ended;
  server.close();
  server.closeAllConnections();
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}
