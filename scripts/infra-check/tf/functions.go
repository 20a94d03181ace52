package tf

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// Token stands for the hash in resource names, as it does for Bicep's uniqueString.
const Token = "tokentokentok"

// functionTable is every function that the configuration may call; an unknown name is a finding.
func (p *Program) functionTable() map[string]function.Function {
	if p.functions == nil {
		p.functions = map[string]function.Function{
			"alltrue": textList(allTrue), "can": tryfunc.CanFunc, "coalesce": coalesce(), "concat": stdlib.ConcatFunc,
			"contains": stdlib.ContainsFunc, "distinct": stdlib.DistinctFunc, "flatten": stdlib.FlattenFunc, "floor": stdlib.FloorFunc,
			"jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc, "keys": stdlib.KeysFunc, "length": length(),
			"lookup": stdlib.LookupFunc, "lower": stdlib.LowerFunc, "max": stdlib.MaxFunc, "merge": stdlib.MergeFunc, "min": stdlib.MinFunc,
			"regex": stdlib.RegexFunc, "replace": stdlib.ReplaceFunc, "slice": stdlib.SliceFunc, "split": stdlib.SplitFunc,
			"endswith":    texts(func(a []string) string { return fmt.Sprint(strings.HasSuffix(a[0], a[1])) }, cty.Bool, 2),
			"startswith":  texts(func(a []string) string { return fmt.Sprint(strings.HasPrefix(a[0], a[1])) }, cty.Bool, 2),
			"strcontains": texts(func(a []string) string { return fmt.Sprint(strings.Contains(a[0], a[1])) }, cty.Bool, 2),
			"substr":      stdlib.SubstrFunc, "upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc,
			"tonumber": stdlib.MakeToFunc(cty.Number), "tostring": stdlib.MakeToFunc(cty.String),
			"toset":        stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
			"nonsensitive": same(), "sensitive": same(),
			"sha256":     texts(func([]string) string { return Token }, cty.String, 1),
			"uuidv5":     texts(func(a []string) string { return "guid(" + strings.Join(a[1:], "") + ")" }, cty.String, 2),
			"cidrsubnet": cidrSubnet(),
			"file":       texts(p.readFile, cty.String, 1),
		}
	}
	return p.functions
}

// readFile reads below the root; a missing file is a finding.
func (p *Program) readFile(a []string) string {
	b, err := os.ReadFile(filepath.Join(p.Dir, filepath.FromSlash(a[0])))
	if err != nil {
		p.Findings.Add("tf-wiring", a[0], "file is not there")
		return "null"
	}
	return string(b)
}

// texts makes a function of texts; the result is converted to want.
func texts(f func([]string) string, want cty.Type, count int) function.Function {
	params := make([]function.Parameter, count)
	for i := range params {
		params[i] = function.Parameter{Name: fmt.Sprint("a", i), Type: cty.String, AllowMarked: true}
	}
	return function.New(&function.Spec{
		Params: params, Type: function.StaticReturnType(want),
		Impl: func(args []cty.Value, want cty.Type) (cty.Value, error) {
			var in []string
			for _, a := range args {
				in = append(in, a.AsString())
			}
			return convert.Convert(cty.StringVal(f(in)), want)
		},
	})
}

func same() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "v", Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true}},
		Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl:   func(args []cty.Value, _ cty.Type) (cty.Value, error) { return args[0], nil },
	})
}

func length() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "v", Type: cty.DynamicPseudoType, AllowDynamicType: true}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if args[0].Type() == cty.String {
				return cty.NumberIntVal(int64(len(args[0].AsString()))), nil
			}
			return cty.NumberIntVal(int64(args[0].LengthInt())), nil
		},
	})
}

func textList(f func(cty.Value) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl:   func(args []cty.Value, _ cty.Type) (cty.Value, error) { return cty.BoolVal(f(args[0])), nil },
	})
}

func allTrue(list cty.Value) bool {
	for it := list.ElementIterator(); it.Next(); {
		if _, v := it.Element(); v.IsKnown() && v.False() {
			return false
		}
	}
	return true
}

// coalesce takes the first that is neither null nor empty text, as Terraform's does; numbers become text beside texts.
func coalesce() function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "v", Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true},
		Type: func(args []cty.Value) (cty.Type, error) {
			var types []cty.Type
			for _, a := range args {
				types = append(types, a.Type())
			}
			t, _ := convert.UnifyUnsafe(types)
			if t == cty.NilType {
				return t, fmt.Errorf("all arguments must have the same type")
			}
			return t, nil
		},
		Impl: func(args []cty.Value, want cty.Type) (cty.Value, error) {
			for _, a := range args {
				v, err := convert.Convert(a, want)
				if err != nil {
					return cty.NilVal, err
				}
				if !v.IsNull() && (v.Type() != cty.String || v.AsString() != "") {
					return v, nil
				}
			}
			return cty.NilVal, fmt.Errorf("no value is left")
		},
	})
}

func cidrSubnet() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "prefix", Type: cty.String}, {Name: "bits", Type: cty.Number}, {Name: "n", Type: cty.Number}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			network, err := netip.ParsePrefix(args[0].AsString())
			if err != nil {
				return cty.NilVal, err
			}
			extra, _ := args[1].AsBigFloat().Int64()
			n, _ := args[2].AsBigFloat().Int64()
			bits := network.Bits() + int(extra)
			if extra < 0 || bits > 32 || n >= 1<<extra {
				return cty.NilVal, fmt.Errorf("%s has no room for subnet %d of /%d", network, n, bits)
			}
			a := network.Masked().Addr().As4()
			sum := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
			sum += uint32(n) << (32 - bits)
			addr := netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
			return cty.StringVal(netip.PrefixFrom(addr, bits).String()), nil
		},
	})
}
