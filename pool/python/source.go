package python

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
)

//go:embed py/*.py
var sources embed.FS

// bootstrap is the program that the interpreter is given. Everything else comes through the pipe on fd 4.
const bootstrap = `import json,os,sys,types
with os.fdopen(4,'rb') as f: payload=json.load(f)
del f
sys.modules['_agensium']=package=types.ModuleType('_agensium')
sys.modules['_agensium.boot']=package.boot=boot=types.ModuleType('_agensium.boot')
package.__path__=[]
exec(compile(payload['modules']['boot'],'<agensium>/boot.py','exec'),boot.__dict__)
boot.main(payload)`

// modules are the embedded modules by name.
var modules = sync.OnceValues(func() (map[string]string, error) {
	files, err := sources.ReadDir("py")
	if err != nil {
		return nil, err
	}
	found := make(map[string]string, len(files))
	for _, f := range files {
		text, err := sources.ReadFile(path.Join("py", f.Name()))
		if err != nil {
			return nil, err
		}
		found[strings.TrimSuffix(f.Name(), ".py")] = string(text)
	}
	return found, nil
})

// sendPayload writes what the bootstrap reads.
func sendPayload(w io.Writer, options map[string]any) error {
	found, err := modules()
	if err != nil {
		return fmt.Errorf("read embedded modules: %w", err)
	}
	return json.NewEncoder(w).Encode(map[string]any{"modules": found, "options": options})
}
