package main

import (
	"strings"
	"testing"
)

func TestUnitLetsTheApplicationBeWhereItIs(t *testing.T) {
	for dir, want := range map[string]string{"/srv/shop": "\nProtectHome=yes\n", "/home/ann/shop": "\nProtectHome=read-only\n", "/root/shop": "\nProtectHome=read-only\n"} {
		unit := project{dir: dir, name: "shop"}.unit(template("systemd/agensium.service"))
		if !strings.Contains(unit, want) || !strings.Contains(unit, "\nWorkingDirectory="+dir+"\n") {
			t.Errorf("%s: no %q in\n%s", dir, want, unit)
		}
	}
}
