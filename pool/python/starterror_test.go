package python

import (
	"strings"
	"testing"
)

func TestHintOfAStartError(t *testing.T) {
	for want, e := range map[string]StartError{
		"check python.app":          {Doing: "import shop.worker:app", Type: "ModuleNotFoundError", Module: "shop"},
		`no module "shop.other"`:    {Doing: "import shop.worker:app", Type: "ModuleNotFoundError", Module: "shop.other"},
		"install it there":          {Doing: "import shop.worker:app", Type: "ModuleNotFoundError", Module: "django"},
		"DJANGO_SETTINGS_MODULE":    {Doing: "import the task modules", Type: "ModuleNotFoundError", Module: "shop.prod", Settings: "shop.prod"},
		"install celery[redis]":     {Doing: "import celery", Type: "ModuleNotFoundError", Module: "celery"},
		"more than redis-py":        {Doing: "import kombu's Redis transport", Type: "ModuleNotFoundError", Module: "packaging"},
		"built without _ssl":        {Doing: "import shop.worker:app", Type: "ModuleNotFoundError", Module: "_ssl"},
		"a library of the system":   {Doing: "import shop", Type: "ImportError", Message: "libssl.so.3: cannot open shared object file: No such file or directory"},
		"import each other":         {Doing: "import shop", Type: "ImportError", Message: "cannot import name 'a' from partially initialized module 'shop' (most likely due to a circular import)"},
		`module "shop" has no "ap"`: {Doing: "import shop:ap", Type: "ModuleNotFoundError", Module: "shop:ap"},
		"?ssl_cert_reqs=required":   {Doing: "open the result backend", Type: "ValueError", Message: "\nA rediss:// URL must have parameter ssl_cert_reqs and this must be set to CERT_REQUIRED"},
	} {
		if got := e.Hint(); !strings.Contains(got, want) {
			t.Errorf("%s %s: %q, want %q", e.Type, e.Module, got, want)
		}
	}
	if got := (&StartError{Doing: "open it", Type: "ValueError", Message: "\nA URL\nis bad\n"}).Error(); !strings.HasSuffix(got, ": A URL") {
		t.Errorf("the message begins with an empty line: %q", got)
	}
	if got := (&StartError{Doing: "import shop", Type: "ImportError", Message: "cannot import name 'x' from 'os'"}).Hint(); got != "" {
		t.Errorf("the traceback says more than %q", got)
	}
}
