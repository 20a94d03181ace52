// Package arm reads what the Bicep compiler made: previews of the examples, with the expressions worked out that a preview leaves
// (references to what is deployed, the cloud's suffixes, secure parameters), and the compiled template.
package arm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// node is an expression of the template language: a text or number, a call, or a member of another node.
type node struct {
	literal any
	call    string
	args    []node
	of      *node // whose member it is
	member  string
}

var errSyntax = errors.New("expression cannot be read")

type parser struct {
	text string
	at   int
}

// parse reads an expression without its brackets.
func parse(text string) (node, error) {
	p := &parser{text: text}
	n, err := p.node()
	if err == nil && p.at != len(text) {
		err = fmt.Errorf("%w: %q at %d", errSyntax, text, p.at)
	}
	return n, err
}

func (p *parser) node() (node, error) {
	n, err := p.simple()
	for err == nil && p.at < len(p.text) && (p.text[p.at] == '.' || p.text[p.at] == '[') {
		n, err = p.access(n)
	}
	return n, err
}

// access reads .member or [index] behind a node.
func (p *parser) access(of node) (node, error) {
	if p.take(".") {
		return node{of: &of, member: p.word()}, nil
	}
	p.take("[")
	index, err := p.node()
	if err == nil && !p.take("]") {
		err = fmt.Errorf("%w: no ] in %q", errSyntax, p.text)
	}
	return node{of: &of, member: fmt.Sprint(index.literal)}, err
}

func (p *parser) simple() (node, error) {
	if p.take("'") {
		return p.quoted()
	}
	word := p.word()
	if p.take("(") {
		args, err := p.arguments()
		return node{call: strings.ToLower(word), args: args}, err
	}
	n, err := strconv.Atoi(word)
	if err != nil {
		return node{}, fmt.Errorf("%w: %q at %d", errSyntax, p.text, p.at)
	}
	return node{literal: float64(n)}, nil
}

func (p *parser) quoted() (node, error) {
	var b strings.Builder
	for p.at < len(p.text) {
		switch {
		case p.take("''"):
			b.WriteByte('\'')
		case p.take("'"):
			return node{literal: b.String()}, nil
		default:
			b.WriteByte(p.text[p.at])
			p.at++
		}
	}
	return node{}, fmt.Errorf("%w: a text without end in %q", errSyntax, p.text)
}

func (p *parser) arguments() ([]node, error) {
	var args []node
	for !p.take(")") {
		n, err := p.node()
		if err != nil {
			return nil, err
		}
		args = append(args, n)
		if !p.take(", ") && !p.take(",") && !strings.HasPrefix(p.text[p.at:], ")") {
			return nil, fmt.Errorf("%w: %q at %d", errSyntax, p.text, p.at)
		}
	}
	return args, nil
}

func (p *parser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

func (p *parser) word() string {
	from := p.at
	for p.at < len(p.text) && (p.text[p.at] == '_' || p.text[p.at] == '-' || p.text[p.at] >= '0' && p.text[p.at] <= '9' || p.text[p.at]|0x20 >= 'a' && p.text[p.at]|0x20 <= 'z') {
		p.at++
	}
	return p.text[from:p.at]
}
