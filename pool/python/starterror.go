package python

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agensium/agensium/pool/child"
)

// StartError tells why an application could not be started, with what there is to look at.
type StartError struct {
	Doing      string   `json:"doing"` // what was being done
	Type       string   `json:"type"`  // class of the exception; empty if the process died without a word
	Message    string   `json:"message"`
	Traceback  string   `json:"traceback"`
	Module     string   `json:"module"`   // that could not be imported
	Settings   string   `json:"settings"` // what DJANGO_SETTINGS_MODULE says
	Python     string   `json:"python"`
	Executable string   `json:"executable"`
	Cwd        string   `json:"cwd"`
	Path       []string `json:"path"`
	Virtualenv string   `json:"virtualenv"`

	Exit child.Exit `json:"-"` // how the process ended, if it did
	Tail []string   `json:"-"` // the last lines that it printed
}

// typeTimeout stands where the class of an exception does, of a start that took too long.
const typeTimeout = "StartTimeout"

// Error is one line; Notes has the rest.
func (e *StartError) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("start python application: %s: the process ended: %s", e.Doing, e.Exit)
	}
	return fmt.Sprintf("start python application: %s: %s: %s", e.Doing, e.Type, firstLine(e.Message))
}

// Notes are lines for a person: the traceback, where it ran, and what to try.
func (e *StartError) Notes() []string {
	var notes []string
	if e.Traceback != "" {
		notes = append(notes, strings.Split(strings.TrimRight(e.Traceback, "\n"), "\n")...)
	}
	for _, line := range e.Tail {
		notes = append(notes, "printed: "+line)
	}
	if e.Executable != "" {
		notes = append(notes, fmt.Sprintf("python %s at %s, working directory %s", e.Python, e.Executable, e.Cwd))
	}
	if hint := e.Hint(); hint != "" {
		notes = append(notes, "hint: "+hint)
	}
	return notes
}

// Hint says what to do about it, empty if there is nothing better than the traceback.
func (e *StartError) Hint() string {
	module, attribute, named := strings.Cut(e.Module, ":")
	switch {
	case named: // Celery looks for a module of that name when the real one lacks the attribute
		return fmt.Sprintf("module %q has no %q: name the application as module:attribute", module, attribute)
	case e.Module == "celery":
		return "Celery is not installed for this interpreter: set python.interpreter, or install celery[redis] there"
	case e.Module != "" && e.Doing == "import kombu's Redis transport":
		return "it needs more than redis-py: install celery[redis] there"
	case e.Module == "redis":
		return "redis-py is not installed for this interpreter: install celery[redis] there"
	case slices.Contains(partsOfPython, e.Module):
		return fmt.Sprintf("this Python was built without %s: set python.interpreter to another, or build it again where the library that it needs is installed", e.Module)
	case e.Module != "" && e.Module == e.Settings:
		return fmt.Sprintf("no module %q for this interpreter in this directory: DJANGO_SETTINGS_MODULE names it", e.Module)
	case e.Module != "" && e.ownModule():
		return fmt.Sprintf("no module %q for this interpreter in this directory: check python.app, python.interpreter and the working directory", e.Module)
	case e.Module != "":
		return fmt.Sprintf("no module %q for this interpreter: install it there, or check python.interpreter and the working directory", e.Module)
	case e.Type == "ImportError" && strings.Contains(e.Message, "shared object file"):
		return "a compiled module needs a library of the system that is not there: install it; in an image, in its last stage"
	case strings.Contains(e.Message, "ssl_cert_reqs"):
		return "write ?ssl_cert_reqs=required behind the URL of the results: Celery wants it there with rediss://"
	case e.Type == typeTimeout:
		return "it hangs there, or takes longer: python.start_timeout gives it more time"
	case e.Type == "ImportError" && strings.Contains(e.Message, "circular import"):
		return "two modules import each other: have one of them import the other where it needs it"
	case e.Type == "TypeError" && strings.Contains(e.Message, "not a Celery application"):
		return "name the application as module:attribute"
	case e.Type == "SystemExit":
		return "the application calls sys.exit while it is imported: put that under `if __name__ == \"__main__\":`"
	case e.Type == "AttributeError" && strings.HasPrefix(e.Doing, "import"):
		return "name the application as module:attribute"
	}
	return ""
}

// partsOfPython are modules that a Python lacks which was built without some library.
var partsOfPython = []string{
	"_bz2", "_ctypes", "_curses", "_dbm", "_decimal", "_gdbm", "_hashlib", "_lzma", "_sqlite3", "_ssl", "_tkinter", "_uuid", "_zstd", "readline", "zlib",
}

// ownModule tells whether the module that is missing is the one that was asked for, or of its package.
func (e *StartError) ownModule() bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(e.Doing, "import "), ":")
	asked, _, _ := strings.Cut(name, ".")
	missing, _, _ := strings.Cut(e.Module, ".")
	return asked == missing
}

// OfTheCode tells whether only somebody who changes the code, the settings or what is installed can cure it.
func (e *StartError) OfTheCode() bool {
	switch e.Type {
	case "ModuleNotFoundError", "ImportError", "AttributeError", "NameError", "TypeError", "SyntaxError", "IndentationError", "TabError":
		return true
	}
	return false
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
