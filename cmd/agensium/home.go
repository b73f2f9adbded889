package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// home is where the node that is asked for should be at home: two projects on one host have the same address by default.
type home struct {
	any      bool   // an address was given, so that whoever answers is meant
	settings string // the settings file here; without one nothing is expected
	bad      error  // what is wrong with the settings here: a node that had them before works on
}

// ask gets an answer from the node that is meant. If there is none, and the settings are bad, that is why.
func (h home) ask(ctx context.Context, address, path string) (*answered, error) {
	a, err := get(ctx, address, path)
	if err == nil {
		err = h.check(address, a)
	}
	if err != nil && h.bad != nil {
		return nil, fmt.Errorf("%v (its address as far as the settings can be read): %w", err, h.bad)
	}
	return a, err
}

// check is an error if the node that answered works with other settings than those here.
func (h home) check(address string, a *answered) error {
	if h.any || h.settings == "" || same(h.settings, a.home) {
		return nil
	}
	settings, err := filepath.Abs(h.settings)
	if err != nil {
		settings = h.settings
	}
	return &unanswered{address, fmt.Errorf("that is %s, and not the node of %s", a.whose(), settings)}
}

// unsure tells whether the answer should say whose it is: there are no settings here, and the node works elsewhere.
func (h home) unsure(a *answered) bool {
	return !h.any && h.settings == "" && !same(".", a.home)
}

// same tells whether two paths lead to one file.
func same(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}
