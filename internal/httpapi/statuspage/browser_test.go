// SPDX-License-Identifier: GPL-3.0-or-later

package statuspage_test

import (
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"winery/internal/httpapi/statuspage"
	"winery/internal/status"
	"winery/test/expect"
)

var update = flag.Bool("update", false, "write the pictures of the documentation")

// contrasts returns the texts of the page whose contrast with their ground is below 4.5, the
// least that WCAG 2 asks for at level AA.
const contrasts = `(() => {
	const rgb = color => color.match(/[\d.]+/g).map(Number)
	const luminance = color => rgb(color).slice(0, 3).map(c => c / 255).
		map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0)
	const ground = e => { const c = getComputedStyle(e).backgroundColor; return rgb(c)[3] === 0 ? ground(e.parentElement) : c }
	const low = []
	for (const e of document.body.querySelectorAll("*")) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue
		const [a, b] = [luminance(getComputedStyle(e).color), luminance(ground(e))]
		const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
		if (contrast < 4.5) low.push(e.textContent + ": " + contrast)
	}
	return low
})()`

// TestBrowser shows the page of a fleet in trouble on a desktop and on a phone, light and dark:
// it fits the width, each text has enough contrast, and the browser has nothing to complain of.
func TestBrowser(t *testing.T) {
	server := httptest.NewServer(statuspage.Of(func() status.Report { return trouble(t) }))
	defer server.Close()
	b := startBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		grounds := ""
		for _, width := range []int{400, 1280} {
			b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
			b.open(server.URL + "/status")
			var scroll int
			b.evaluate("document.documentElement.scrollWidth", &scroll)
			if scroll > width {
				t.Errorf("%s, %d pixels wide: the page has %d", scheme, width, scroll)
			}
			var low []string
			if b.evaluate(contrasts, &low); len(low) > 0 {
				t.Errorf("%s: too little contrast: %q", scheme, low)
			}
			b.evaluate("getComputedStyle(document.body).backgroundColor", &grounds)
		}
		if dark := grounds == "rgb(20, 23, 26)"; dark != (scheme == "dark") {
			t.Errorf("%s: the ground is %s", scheme, grounds)
		}
		if *update {
			b.picture(filepath.Join("../../../docs", "status-page-"+scheme+".png"))
		}
	}
	if len(b.log) > 0 {
		t.Errorf("the browser complains: %q", b.log)
	}
}

// picture writes the whole page to a file.
func (b *browser) picture(path string) {
	b.t.Helper()
	var shot struct{ Data []byte }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	expect.NoError(b.t, os.WriteFile(path, shot.Data, 0o644))
}
