package migrate

import (
	"strings"
)

// A policy of API Management is XML in which the values of attributes are
// expressions in C#, with quotes and angle brackets as they are. No XML parser
// reads that, so it is read here by hand: as far as elements, attributes,
// balanced brackets and string literals go.

// element is one start tag.
type element struct {
	name       string
	attributes map[string]string
	text       string // up to the next tag
}

var comment = lazily(`(?s)<!--.*?-->`)

// elements are the start tags of a policy, in order.
func elements(policy string) []element {
	policy = comment().ReplaceAllString(policy, "")
	var found []element
	for i := 0; i < len(policy); i++ {
		if policy[i] != '<' || i+1 == len(policy) || !letter(policy[i+1]) {
			continue
		}
		e, end := tag(policy, i+1)
		text, _, _ := strings.Cut(policy[end:], "<")
		if strings.HasPrefix(strings.TrimSpace(policy[end:]), "@(") || strings.HasPrefix(strings.TrimSpace(policy[end:]), "@{") {
			start := end + strings.IndexByte(policy[end:], '@')
			end = expression(policy, start)
			text = policy[start:end]
		}
		e.text = strings.TrimSpace(text)
		found = append(found, e)
		i = end - 1
	}
	return found
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// tag reads a start tag from its name on; end is behind its closing bracket.
func tag(policy string, at int) (e element, end int) {
	i := at
	for i < len(policy) && !strings.ContainsRune(" \t\r\n/>", rune(policy[i])) {
		i++
	}
	e = element{name: policy[at:i], attributes: map[string]string{}}
	for i < len(policy) && policy[i] != '>' {
		name := i
		for i < len(policy) && (letter(policy[i]) || policy[i] == '-') {
			i++
		}
		if i == name || i+1 >= len(policy) || policy[i] != '=' {
			i = max(i, name+1)
			continue
		}
		value, next := attribute(policy, i+1)
		e.attributes[policy[name:i]] = value
		i = next
	}
	return e, min(i+1, len(policy))
}

// attribute reads a quoted value, which may be an expression with quotes in it.
func attribute(policy string, at int) (value string, end int) {
	if at >= len(policy) || policy[at] != '"' && policy[at] != '\'' {
		return "", at
	}
	quote, start := policy[at], at+1
	i := start
	if strings.HasPrefix(policy[i:], "@(") || strings.HasPrefix(policy[i:], "@{") {
		i = expression(policy, i)
	}
	for i < len(policy) && policy[i] != quote {
		i++
	}
	return policy[start:min(i, len(policy))], min(i+1, len(policy))
}

// expression is where the expression that begins with @( or @{ ends.
func expression(policy string, at int) int {
	return balanced(policy, at+1)
}

// balanced is the place behind the bracket that closes the one at i, past
// strings and comments.
func balanced(code string, i int) int {
	depth := 0
	for i < len(code) {
		switch c := code[i]; {
		case c == '"':
			i = literal(code, i)
			continue
		case commentEnd(code, i) > i:
			i = commentEnd(code, i)
			continue
		case c == '(' || c == '{' || c == '[':
			depth++
		case c == ')' || c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return len(code)
}

// literal is the place behind the string that begins at i.
func literal(code string, i int) int {
	for i++; i < len(code); i++ {
		switch code[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(code)
}

// commentEnd is the place behind the comment that begins at i, i where none does.
func commentEnd(code string, i int) int {
	switch {
	case strings.HasPrefix(code[i:], "//"):
		return lineEnd(code, i)
	case strings.HasPrefix(code[i:], "/*"):
		if n := strings.Index(code[i+2:], "*/"); n >= 0 {
			return i + 2 + n + 2
		}
		return len(code)
	}
	return i
}

func lineEnd(code string, i int) int {
	if n := strings.IndexByte(code[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(code)
}

// bare is the code without comments, strings left alone.
func bare(code string) string {
	var out strings.Builder
	for i := 0; i < len(code); {
		switch {
		case code[i] == '"':
			end := literal(code, i)
			out.WriteString(code[i:end])
			i = end
		case commentEnd(code, i) > i:
			i = commentEnd(code, i)
		default:
			out.WriteByte(code[i])
			i++
		}
	}
	return out.String()
}

// property is one { "name", value } of an initializer.
type property struct{ name, value string }

var (
	newObject = lazily(`new\s+JObject\s*\(\s*\)\s*\{`)
	pair      = lazily(`(?s)^\{\s*"([^"]+)"\s*,(.*)\}$`)
)

// initializers are the properties of every `new JObject() { ... }` in the code.
func initializers(code string) [][]property {
	code = bare(code)
	var found [][]property
	for _, at := range newObject().FindAllStringIndex(code, -1) {
		open := at[1] - 1
		inside := code[open+1 : max(open+1, balanced(code, open)-1)]
		var properties []property
		for i := 0; i < len(inside); i++ {
			if inside[i] != '{' {
				continue
			}
			end := balanced(inside, i)
			if m := pair().FindStringSubmatch(inside[i:end]); m != nil {
				properties = append(properties, property{m[1], strings.TrimSpace(m[2])})
			}
			i = end - 1
		}
		found = append(found, properties)
	}
	return found
}
