// SPDX-License-Identifier: GPL-3.0-or-later

// Package e2e proves, on real processes, a real PostgreSQL and a real Ceph, that
// the fleet works end to end and loses nothing when its processes are killed or
// its services are unavailable. It needs the programs in bin/ (make build) and
// the services of scripts/with-services.
package e2e
