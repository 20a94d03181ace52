package tablestore

import "strings"

// EncodeKey is a name as a key of the table takes it: letters, digits, '.', '_' and
// '-' as they are, every other byte as ~ and two hexadecimal digits. Different
// names have different keys (facts/reliability.md rule 15).
func EncodeKey(name string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			b.WriteByte('~')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}
