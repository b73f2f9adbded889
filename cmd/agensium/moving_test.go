package main

import (
	"os"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// Whoever moves over finds every setting that Celery has.
func TestMovingOverTellsEverySettingOfCelery(t *testing.T) {
	python := celerytest.Venv(t, "celery-latest")
	text, err := os.ReadFile("../../celery/MOVING.md")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(celerytest.RunPython(t, python, "from celery.app import defaults\nprint(*dict(defaults.flatten(defaults.NAMESPACES)))"))
	if len(names) < 150 {
		t.Fatalf("Celery has only %d settings: %q", len(names), names)
	}
	for _, name := range names {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("celery/MOVING.md does not mention `%s`", name)
		}
	}
}
