// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"bufio"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// wantKinds sorts every class of the server's list of SQLSTATE, and each code that differs from its class.
var wantKinds = map[string]kind{
	"00": permanent, "01": permanent, "02": permanent, "03": permanent, "09": permanent, "0A": permanent, "0B": permanent, "0F": permanent,
	"0L": permanent, "0P": permanent, "0Z": permanent, "20": permanent, "21": permanent, "22": permanent, "23": permanent,
	"24": permanent, "25": permanent, "26": passing, "27": permanent, "2B": permanent, "2D": permanent, "2F": permanent,
	"34": permanent, "38": permanent, "39": permanent, "3B": permanent, "3D": passing, "3F": permanent, "42": permanent,
	"44": permanent, "54": permanent, "55": permanent, "58": permanent, "F0": permanent, "HV": permanent, "P0": permanent,
	"XX": permanent,
	"08": passing, "28": passing, "40": passing, "53": passing, "57": passing, "72": passing,

	"25006": passing, "25P03": passing, "25P04": passing, "42501": passing, "42P05": passing, "53100": diskFull,
	"55000": passing, "55006": passing, "55P03": passing, "58000": passing, "58030": passing, "42P01": noTable,
	"XX001": damaged, "XX002": damaged,
}

// Every code that the server knows is sorted, and a class that is new in another version of it is noticed.
func TestSQLStates(t *testing.T) {
	lists, err := filepath.Glob("/usr/share/postgresql/*/errcodes.txt")
	if err != nil || len(lists) == 0 {
		t.Fatalf("the server's list of SQLSTATE is not there: %v", err)
	}
	codes := 0
	for _, list := range lists {
		file, err := os.Open(list)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			code, _, found := strings.Cut(lines.Text(), " ")
			if !found || len(code) != 5 || code == strings.Repeat("#", 5) {
				continue
			}
			codes++
			want, sorted := wantKinds[code]
			if !sorted {
				want, sorted = wantKinds[code[:2]]
			}
			if got := kindOf(code); !sorted || got != want {
				t.Errorf("%s is sorted as %d, want %d (known: %v)", code, got, want, sorted)
			}
		}
	}
	if codes < 200 {
		t.Errorf("only %d codes were found in %v", codes, lists)
	}
}

// What another statement may pass by is told from what concerns every statement.
func TestUnreadable(t *testing.T) {
	for code, want := range map[string]struct{ unreadable, damaged, unavailable bool }{
		"XX000": {true, false, false},
		"XX001": {true, true, false},
		"XX002": {true, true, false},
		"58030": {true, false, true},
		"58P01": {true, false, false},
		"58000": {false, false, true},
		"57P01": {false, false, true},
		"53200": {false, false, true},
		"22003": {false, false, false},
	} {
		err := new(SharedBase).explain(t.Context(), "reading", &pgconn.PgError{Code: code})
		if Unreadable(err) != want.unreadable || errors.Is(err, ErrDamaged) != want.damaged || errors.Is(err, ErrUnavailable) != want.unavailable {
			t.Errorf("%s: %v", code, err)
		}
	}
	if err := new(SharedBase).explain(t.Context(), "reading", net.ErrClosed); Unreadable(err) {
		t.Errorf("no answer: %v", err)
	}
}
