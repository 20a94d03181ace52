package bicep

// Parameters works out a parameter file and returns the values with the template it is for.
func (p *Program) Parameters(file string) (template string, values map[string]Value) {
	f := p.file(file)
	if f == nil {
		return "", nil
	}
	if f.Using == "" {
		p.Findings.Add("bicep-wiring", file, "a parameter file names its template: using '…'")
		return "", nil
	}
	t := &Template{program: p, file: f, Address: "parameters", params: map[string]Value{}, vars: map[string]Value{}, visiting: map[string]bool{}}
	values = map[string]Value{}
	for _, a := range f.Assignments {
		values[a.Name] = t.eval(a.Value, nil)
	}
	return beside(f.Path, f.Using), values
}

// Defaults lists the parameters of a template; Required stands for no default.
func (p *Program) Defaults(file string) map[string]any {
	f := p.file(file)
	if f == nil {
		return nil
	}
	t := &Template{program: p, file: f, Address: "defaults", params: map[string]Value{}, vars: map[string]Value{}, visiting: map[string]bool{}}
	out := map[string]any{}
	for _, d := range f.Params {
		out[d.Name] = Required
		if d.Default != nil {
			out[d.Name] = Plain(t.eval(d.Default, nil))
		}
	}
	return out
}

// Required stands for the default of a parameter that has none.
const Required = "(required)"
