// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	const processes = 8
	for _, pool := range [][]kind{rbdFaults, directoryFaults, s3Faults} {
		kinds := slices.Concat(databaseFaults, pool)
		for seed := range uint64(50) {
			lease := time.Minute
			duration := 30 * time.Minute
			roles, services := plan(seed, duration, lease, processes, kinds)
			againRoles, againServices := plan(seed, duration, lease, processes, kinds)
			if !reflect.DeepEqual(roles, againRoles) || !reflect.DeepEqual(services, againServices) {
				t.Fatalf("seed %d gave two plans", seed)
			}
			if len(roles) < 100 || len(services) < 20 {
				t.Errorf("seed %d: %d faults of roles and %d of services in %s", seed, len(roles), len(services), duration)
			}
			of := map[kind]int{}
			until := map[int]time.Duration{}
			for _, f := range slices.Concat(roles, services) {
				of[f.kind]++
				if f.at < until[f.process] {
					t.Errorf("seed %d: %s begins before the one before has ended, at %s", seed, f, until[f.process])
				}
				until[f.process] = f.at + f.length
				if until[f.process] >= duration {
					t.Errorf("seed %d: %s ends after the run", seed, f)
				}
				if f.process >= 0 && f.kind != kill && f.length <= lease {
					t.Errorf("seed %d: %s is no longer than a lease", seed, f)
				}
			}
			for _, k := range slices.Concat(kinds, roleFaults) {
				if of[k] == 0 {
					t.Errorf("seed %d: not once in %s: %s", seed, duration, k)
				}
			}
		}
	}
}
