package argocd

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex/render"
)

// unstable are Sprig's functions that read a clock or a random source, or the
// zone of the place. No text in Git can hold their result.
var unstable = []string{"now", "ago", "date", "date_in_zone", "dateInZone", "htmlDate", "htmlDateInZone", "toDate", "mustToDate",
	"randAlpha", "randAlphaNum", "randAscii", "randNumeric", "randBytes", "randInt", "uuidv4", "shuffle",
	"bcrypt", "htpasswd", "encryptAES", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert",
	"genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey"}

// functions are Sprig's without those that ask the environment or a network,
// and Argo CD's own: applicationset/utils/utils.go.
func (e *expansion) functions() texttemplate.FuncMap {
	all := texttemplate.FuncMap(sprig.GenericFuncMap())
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(all, name)
	}
	for _, name := range unstable {
		if _, known := all[name]; known {
			all[name] = func(...any) (string, error) {
				return "", fmt.Errorf("the function %s: %w", name, render.ErrUnstable)
			}
		}
	}
	all["keys"], all["values"] = e.keys, e.valuesOf
	all["normalize"], all["slugify"] = normalize, slugify
	all["toYaml"] = func(v any) (string, error) {
		text, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	all["fromYaml"] = func(text string) (map[string]any, error) {
		m := map[string]any{}
		return m, yaml.Unmarshal([]byte(text), &m)
	}
	all["fromYamlArray"] = func(text string) ([]any, error) {
		list := []any{}
		err := yaml.Unmarshal([]byte(text), &list)
		return list, err
	}
	return all
}

// keys are those of maps, in an order that nobody may rely on.
func (e *expansion) keys(dicts ...map[string]any) []string {
	all := []string{}
	for _, d := range dicts {
		for key := range sorted(d) {
			all = append(all, key)
		}
	}
	if len(all) > 1 {
		if e.asked = true; e.flip {
			slices.Reverse(all)
		}
	}
	return all
}

func (e *expansion) valuesOf(dict map[string]any) []any {
	all := []any{}
	for _, value := range sorted(dict) {
		all = append(all, value)
	}
	if len(all) > 1 {
		if e.asked = true; e.flip {
			slices.Reverse(all)
		}
	}
	return all
}

var dashes = regexp.MustCompile(`-+`)

// slugify makes a short name for an address, of a length and, if it is to end
// with a whole word, true before the text: slugify 23 true .name. The rules are
// those of github.com/gosimple/slug for a text that is normalized before.
func slugify(args ...any) (string, error) {
	size, whole, text := 50, true, ""
	for i, arg := range args {
		ok := false
		switch {
		case i == len(args)-1:
			text, ok = arg.(string)
		case i == 0:
			size, ok = arg.(int)
		case i == 1:
			whole, ok = arg.(bool)
		}
		if !ok {
			return "", errors.New("slugify takes a length, true or false, and a text")
		}
	}
	slug := normalize(text)
	if size < 0 {
		return "", errors.New("slugify takes no negative length")
	}
	if !whole && len(slug) >= size {
		slug = slug[:size]
	}
	slug = strings.Trim(dashes.ReplaceAllString(strings.ReplaceAll(slug, ".", "-"), "-"), "-")
	if size == 0 || !whole || len(slug) <= size {
		return slug, nil
	}
	if i := strings.LastIndexByte(slug[:size+1], '-'); i >= 0 {
		return slug[:i], nil
	}
	return slug[:size], nil
}
