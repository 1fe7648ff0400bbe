// SPDX-License-Identifier: GPL-3.0-or-later

package config_test

import (
	"strings"
	"testing"

	"winery/internal/config"
)

// TestExposure: an address that other hosts can reach is refused unless it is
// protected, or the file says that it may be unprotected.
func TestExposure(t *testing.T) {
	const protected = ", tls: {certificate: /c, key: /k}, access: /a"
	for winery, says := range map[string]string{
		"listen: '127.0.0.1:0'":   "",
		"listen: '127.8.9.1:0'":   "",
		"listen: '[::1]:0'":       "",
		"listen: 'localhost:0'":   "",
		"listen: 'unix:/s'":       "",
		"listen: '0.0.0.0:5003'":  `winery.listen: found "0.0.0.0:5003", which other hosts can reach: set tls and access`,
		"listen: ':5003'":         "which other hosts can reach",
		"listen: '[::]:5003'":     "which other hosts can reach",
		"listen: 'example.org:1'": "which other hosts can reach",
		"listen: '192.0.2.1:1'":   "which other hosts can reach",
		"listen: '0.0.0.0:1', tls: {certificate: /c, key: /k}":  "which other hosts can reach",
		"listen: '0.0.0.0:1', access: /a":                       "which other hosts can reach",
		"listen: '0.0.0.0:1'" + protected:                       "",
		"listen: '0.0.0.0:1', allow_unprotected_network: true":  "",
		"listen: '0.0.0.0:1', allow_unprotected_network: false": "which other hosts can reach",
		"tls: {certificate: /c}":                                "winery.tls.key: certificate and key must be given together",
		"tls: {key: /k}":                                        "winery.tls.key: certificate and key must be given together",
		"tls: {certificate: /c, key: /k, ca: /ca}":              "winery.tls.ca: unknown key",
	} {
		_, err := config.Parse("f.yml", []byte(minimal+"winery: {"+winery+"}\n"))
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: error %v, want %q", winery, err, says)
		}
	}
}
