package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// Whoever moves over finds each option of `celery worker`, each setting and each variable that is read here.
func TestMovingOverTellsEverything(t *testing.T) {
	data, err := os.ReadFile("../../celery/MOVING.md")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for f := range reflect.TypeFor[Flags]().Fields() {
		if flag := f.Tag.Get("flag"); flag != "--" {
			words = append(words, flag)
		}
	}
	for f := range reflect.TypeFor[AppSettings]().Fields() {
		words = append(words, f.Tag.Get("json"))
	}
	walk(reflect.ValueOf(Defaults()).Elem(), nil, meta{}, func(_ []string, _ reflect.Value, m meta) { words = append(words, m.env...) })
	for _, word := range words {
		if !strings.Contains(string(data), "`"+word+"`") {
			t.Errorf("celery/MOVING.md does not mention `%s`", word)
		}
	}
}
