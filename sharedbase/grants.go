// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/jackc/pgx/v5"
)

// GrantOptions are those of [Grants].
type GrantOptions struct {
	Prefix         string // of the users' names: a lower-case letter, and then such letters, digits and _
	MinMappedHosts int    // no cleaner drops the table of a shard whose image fewer hosts have mapped
	Also           string // a user who keeps all rights, and whose tables the others may use; "": none
}

//go:embed sql/grants.sql.tmpl
var grantsText string

var grantsTemplate = template.Must(template.New("grants").Parse(grantsText))

// grant is one statement.
type grant struct{ Rights, On, To string }

// Grants returns a script for psql that makes the owner of a database and the users of
// Winery's roles, and gives each the rights that it needs: these, and no others. It
// sets no passwords. Running it again changes nothing.
func Grants(o GrantOptions) (string, error) {
	if !regexp.MustCompile(`^[a-z][a-z0-9_]{0,49}$`).MatchString(o.Prefix) {
		return "", fmt.Errorf("%q cannot be the prefix of users: it must begin with a letter from a to z, and have only such letters, digits and _", o.Prefix)
	}
	data := struct {
		Owner, Operator, Users, Also string
		MinMappedHosts               int
		Grants, ShardGrants          []grant
	}{Owner: o.Prefix + "_owner", Operator: o.Prefix + "_" + UserOperator, MinMappedHosts: o.MinMappedHosts}
	if o.Also != "" {
		data.Also = pgx.Identifier{o.Also}.Sanitize()
	}
	var users []string
	for _, user := range Users {
		name := o.Prefix + "_" + user
		users = append(users, name)
		for _, r := range rightsOf(user) {
			rights, on, _ := strings.Cut(r.String(), " ON ")
			switch {
			case on == shardTables:
				data.ShardGrants = append(data.ShardGrants, grant{Rights: rights, To: name})
				continue
			case strings.HasSuffix(on, ")"):
				on = "FUNCTION " + on
			case strings.HasSuffix(on, "_seq"):
				on = "SEQUENCE " + on
			}
			data.Grants = append(data.Grants, grant{Rights: rights, On: on, To: name})
		}
	}
	data.Users = strings.Join(users, ", ")
	var text strings.Builder
	err := grantsTemplate.Execute(&text, data)
	return text.String(), err
}
