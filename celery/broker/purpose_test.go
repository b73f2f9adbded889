package broker

import (
	"os"
	"strings"
	"testing"
)

func TestEachPurposeIsInTheTableOfMetrics(t *testing.T) {
	text, err := os.ReadFile("../../supervisor/admin/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(purposeNames[:], ", "); !strings.Contains(string(text), all) {
		t.Errorf("METRICS.md does not have %q", all)
	}
}
