// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Prometheus is a server that scrapes daemons as the job "winery", and evaluates rules.
type Prometheus struct {
	*Process
	dir, url string
}

// Series is a result of a query: its labels, and the value as Prometheus prints it.
type Series struct {
	Labels map[string]string
	Value  string
}

// Alert is an alert that is pending or firing.
type Alert struct {
	Labels   map[string]string `json:"labels"`
	State    string            `json:"state"`
	ActiveAt time.Time         `json:"activeAt"` // since when the rule has held
}

// StartPrometheus starts a server that scrapes, and evaluates the rules in a file, at an
// interval. It scrapes nothing yet. dir is a folder of its own. The caller must stop it.
func StartPrometheus(ctx context.Context, dir, rules string, every time.Duration) (*Prometheus, error) {
	config := fmt.Sprintf(`
global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: [%[2]q]
scrape_configs: [{job_name: winery, file_sd_configs: [{files: [targets.json]}]}]
`, every, rules)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p := &Prometheus{dir: dir}
	if err := p.Scrape(); err != nil {
		return nil, err
	}
	var err error
	p.Process, err = StartProcess("prometheus", dir, "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--log.format=json", "--log.level=info")
	if err != nil {
		return nil, err
	}
	record, err := p.waitForRecord(ctx, "Listening on")
	if err == nil {
		_, err = p.waitForRecord(ctx, "Server is ready to receive web requests.")
	}
	if err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	p.url = "http://" + fmt.Sprint(record["address"])
	return p, nil
}

// Scrape replaces the addresses that are scraped.
func (p *Prometheus) Scrape(addresses ...string) error {
	text, err := json.Marshal([]map[string][]string{{"targets": append([]string{}, addresses...)}})
	if err != nil {
		return err
	}
	file := filepath.Join(p.dir, "targets.json")
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// Query returns the series of a query now.
func (p *Prometheus) Query(ctx context.Context, query string) (series []Series, err error) {
	var data struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
			Value  [2]any            `json:"value"` // the time, and the value as text
		} `json:"result"`
	}
	if err := p.ask(ctx, "/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
		return nil, err
	}
	for _, r := range data.Result {
		series = append(series, Series{r.Metric, fmt.Sprint(r.Value[1])})
	}
	return series, nil
}

// Alerts returns the alerts that are pending or firing.
func (p *Prometheus) Alerts(ctx context.Context) ([]Alert, error) {
	var data struct {
		Alerts []Alert `json:"alerts"`
	}
	err := p.ask(ctx, "/api/v1/alerts", &data)
	return data.Alerts, err
}

// ask decodes the data of an answer.
func (p *Prometheus) ask(ctx context.Context, path string, data any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := struct {
		Data  any    `json:"data"`
		Error string `json:"error"`
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("prometheus: %s: %s: %w", path, response.Status, err)
	}
	if answer.Error != "" {
		return fmt.Errorf("prometheus: %s: %s", path, answer.Error)
	}
	return nil
}
