package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// viaGo is the long way.
func viaGo(text []byte) (ast.Value, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errJSON
	}
	return ast.InterfaceToValue(v)
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00\n\ud83d",true,false,null,{}],"b":2}`, `{"a":1,"a":2}`, `[`, `"\xff"`, `{"a" 1}`, `01`, `[1,]`, `{,}`, ` [ ] `, "\"\x01\"", `"\u12"`, `tru`, `-`, `1 2`, `{"":""}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decode(text)
		if errors.Is(err, errTwice) {
			return
		}
		want, wantErr := viaGo(text)
		if !json.Valid(text) {
			wantErr = errJSON
		}
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%q: %v, want %v", text, err, wantErr)
		}
		if err == nil && got.Compare(want) != 0 {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	})
}
