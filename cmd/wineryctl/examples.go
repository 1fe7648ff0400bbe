// SPDX-License-Identifier: GPL-3.0-or-later

package main

import "github.com/urfave/cli/v2"

// examples has a command line for each command, by the command's full name.
var examples = map[string]string{
	"wineryctl access":                "wineryctl access new reader-1",
	"wineryctl access check":          "wineryctl access check /etc/winery/access.yml",
	"wineryctl access new":            "wineryctl access new reader-1",
	"wineryctl bench":                 "wineryctl bench --writers 8 --readers 8 --duration 1m --save-ids /root/bench.ids",
	"wineryctl ceph":                  "wineryctl ceph caps",
	"wineryctl ceph caps":             "wineryctl ceph caps --prefix winery",
	"wineryctl config":                "wineryctl config check /etc/winery/winery.yml",
	"wineryctl config check":          "wineryctl config check /etc/winery/winery.yml",
	"wineryctl db":                    "wineryctl db version",
	"wineryctl db grants":             "wineryctl db grants --min-mapped-hosts 2",
	"wineryctl db init":               "wineryctl --config /etc/winery/winery.yml db init",
	"wineryctl db tune":               "wineryctl --config /etc/winery/winery.yml db tune",
	"wineryctl db upgrade":            "wineryctl db upgrade --dry-run",
	"wineryctl db version":            "wineryctl db version",
	"wineryctl delete":                "wineryctl delete --token-file /root/winery.token SHA256",
	"wineryctl doctor":                "wineryctl --config /etc/winery/winery.yml doctor",
	"wineryctl get":                   "wineryctl get SHA256 -o content.bin",
	"wineryctl hosts":                 "wineryctl hosts list",
	"wineryctl hosts forget":          "wineryctl hosts forget storage3",
	"wineryctl hosts list":            "wineryctl hosts list --output json",
	"wineryctl index":                 "wineryctl index reconcile --dry-run",
	"wineryctl index rebuild":         "wineryctl index rebuild --pool-name shards",
	"wineryctl index reconcile":       "wineryctl index reconcile --dry-run",
	"wineryctl objects":               "wineryctl objects locate SHA256",
	"wineryctl objects clean-deleted": "wineryctl objects clean-deleted",
	"wineryctl objects deletions":     "wineryctl objects deletions --since 24h",
	"wineryctl objects locate":        "wineryctl objects locate SHA256",
	"wineryctl objects restore":       "wineryctl objects restore /backup/damaged",
	"wineryctl pool":                  "wineryctl pool list",
	"wineryctl pool adopt":            "wineryctl pool adopt shards --yes",
	"wineryctl pool init":             "wineryctl pool init shards",
	"wineryctl pool list":             "wineryctl pool list",
	"wineryctl put":                   "wineryctl put --quiet README.md /srv/files",
	"wineryctl shards":                "wineryctl shards list --open",
	"wineryctl shards export-damaged": "wineryctl shards export-damaged SHARD /backup/damaged",
	"wineryctl shards import":         "wineryctl shards import --pool-name shards",
	"wineryctl shards list":           "wineryctl shards list --state full --state packing --long",
	"wineryctl shards migrate":        "wineryctl shards migrate files shards",
	"wineryctl shards quarantined":    "wineryctl shards quarantined",
	"wineryctl shards release":        "wineryctl shards release --holder storage3:packer",
	"wineryctl shards seal":           "wineryctl shards seal --pool-name shards",
	"wineryctl shards show":           "wineryctl shards show SHARD",
	"wineryctl shards stale":          "wineryctl shards stale --duration 2d",
	"wineryctl shards unquarantine":   "wineryctl shards unquarantine SHARD",
	"wineryctl status":                "wineryctl status --watch",
	"wineryctl verify":                "wineryctl verify --pool-name shards --sample 1000",
}

// addExamples ends the descriptions of commands and their subcommands with their
// examples. The name of the command that has them is path.
func addExamples(path string, commands []*cli.Command) {
	for _, c := range commands {
		name := path + " " + c.Name
		if c.Description != "" {
			c.Description += "\n\n"
		}
		c.Description += "Example:\n\n    " + examples[name]
		addExamples(name, c.Subcommands)
	}
}
