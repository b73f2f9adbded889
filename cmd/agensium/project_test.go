package main

import (
	"strings"
	"testing"
)

func TestUnitLetsTheApplicationBeWhereItIs(t *testing.T) {
	for top, want := range map[string]string{"srv": "yes", "home": "read-only", "root": "read-only", "homepage": "yes"} {
		dir, want := "/"+top+"/shop", "\nProtectHome="+want+"\n"
		unit := project{dir: dir, name: "shop"}.unit(template("systemd/agensium.service"))
		if !strings.Contains(unit, want) || !strings.Contains(unit, "\nWorkingDirectory="+dir+"\n") {
			t.Errorf("%s: no %q in\n%s", dir, want, unit)
		}
	}
}
