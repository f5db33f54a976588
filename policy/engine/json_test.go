package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
	"pgregory.net/rapid"
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

// generated is a value as JSON may hold it; numbers are texts, since 1, 1.0 and
// 1e0 are the same to some.
func generated(depth int) *rapid.Generator[any] {
	text := rapid.Map(rapid.OneOf(rapid.String(), rapid.StringN(0, 3, -1), rapid.StringMatching(`[a-z]{1,8}(\.kubernetes\.io/[a-z]+)?`)), func(s string) any { return s })
	number := rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,3})?`), func(s string) any { return json.Number(s) })
	other := rapid.SampledFrom([]any{nil, true, false, json.Number("0"), json.Number("80"), ""})
	if depth == 0 {
		return rapid.OneOf(text, number, other)
	}
	list := rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return generated(depth - 1) }), 0, 5), func(v []any) any { return v })
	object := rapid.Map(rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return generated(depth - 1) }), 0, 12), func(v map[string]any) any { return v })
	return rapid.OneOf(text, number, other, list, object)
}

// TestDecodeAsOPA: the short way gives what OPA's own conversion gives, down to
// the hash by which a set finds its elements.
func TestDecodeAsOPA(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(generated(4).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "spaced") {
			var spaced bytes.Buffer
			if err := json.Indent(&spaced, text, " \t", "\r\n "); err != nil {
				t.Fatal(err)
			}
			text = spaced.Bytes()
		}
		got, err := decode(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var x any
		if err := util.NewJSONDecoder(bytes.NewReader(text)).Decode(&x); err != nil {
			t.Fatal(err)
		}
		want, err := ast.InterfaceToValue(x)
		if err != nil {
			t.Fatal(err)
		}
		if got.Compare(want) != 0 || want.Compare(got) != 0 || got.Hash() != want.Hash() || got.String() != want.String() {
			t.Fatalf("%s:\n%v, want\n%v", text, got, want)
		}
		back, err := ast.JSON(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ast.JSON(want)
		if err != nil || !reflect.DeepEqual(back, again) {
			t.Fatalf("%s: %v, want %v", text, back, again)
		}
	})
}

// TestDecodeDeep: nesting is bounded, so that no input overflows the stack.
func TestDecodeDeep(t *testing.T) {
	for n, ok := range map[int]bool{9_999: true, 10_000: true, 10_001: false, 1_000_000: false} {
		for _, p := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
			middle := ""
			if p[0] != "[" {
				middle = "1"
			}
			_, err := decode([]byte(strings.Repeat(p[0], n) + middle + strings.Repeat(p[1], n)))
			if (err == nil) != ok {
				t.Errorf("%d times %s: %v", n, p[0], err)
			}
		}
	}
}

func TestDecodeTwice(t *testing.T) {
	many := `{"a1":1,"a2":1,"a3":1,"a4":1,"a5":1,"a6":1,"a7":1,"a8":1,"a9":1,"a%s":1}`
	for text, want := range map[string]error{
		`{"a":1,"a":2}`: errTwice, `{"a":1,"\u0061":2}`: errTwice, `[{"b":{"a":1,"b":2,"a":3}}]`: errTwice,
		strings.Replace(many, "%s", "5", 1): errTwice, strings.Replace(many, "%s", "10", 1): nil, `{"a":1,"A":2}`: nil,
	} {
		if _, err := decode([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}
