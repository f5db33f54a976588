package helm

import (
	"reflect"

	"github.com/Masterminds/sprig/v3"
)

// call is one of Sprig's own functions, as a function of type F. Results of its
// private types come as what F says they are.
func call[F any](name string) F {
	own := reflect.ValueOf(sprig.GenericFuncMap()[name])
	kind := reflect.TypeFor[F]()
	return reflect.MakeFunc(kind, func(args []reflect.Value) []reflect.Value {
		results := own.Call(args)
		for i := range results {
			results[i] = results[i].Convert(kind.Out(i))
		}
		return results
	}).Interface().(F)
}
