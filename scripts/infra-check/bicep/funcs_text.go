package bicep

import (
	"fmt"
	"net/netip"
	"strings"
)

// Texts of the fictional deployment that templates are worked out for.
const (
	// Token stands for what uniqueString makes.
	Token = "tokentokentok"
	// Subscription is the id of the subscription.
	Subscription = "00000000-0000-0000-0000-000000000000"
	// Tenant is the id of the tenant.
	Tenant = "11111111-1111-1111-1111-111111111111"
)

func toLower(c call) (Value, string) { return strings.ToLower(c.text(0)), "" }

func toUpper(c call) (Value, string) { return strings.ToUpper(c.text(0)), "" }

func replace(c call) (Value, string) {
	return strings.ReplaceAll(c.text(0), c.text(1), c.text(2)), ""
}

func startsWith(c call) (Value, string) {
	return strings.HasPrefix(strings.ToLower(c.text(0)), strings.ToLower(c.text(1))), ""
}

func endsWith(c call) (Value, string) {
	return strings.HasSuffix(strings.ToLower(c.text(0)), strings.ToLower(c.text(1))), ""
}

func split(c call) (Value, string) {
	var out []Value
	for _, s := range strings.Split(c.text(0), c.text(1)) {
		out = append(out, s)
	}
	return out, ""
}

func join(c call) (Value, string) {
	list, ok := c.list(0)
	if !ok {
		return nil, "an array is needed"
	}
	var out []string
	for _, v := range list {
		out = append(out, asText(v))
	}
	return strings.Join(out, c.text(1)), ""
}

func substring(c call) (Value, string) {
	s := c.text(0)
	start, ok := c.args[1].(int64)
	if !ok || int(start) > len(s) {
		return nil, "the start is outside the string"
	}
	end := int64(len(s))
	if len(c.args) == 3 {
		n, _ := c.args[2].(int64)
		end = start + n
	}
	if int(end) > len(s) {
		return nil, "the end is outside the string"
	}
	return s[start:end], ""
}

func uniqueString(c call) (Value, string) {
	for _, v := range c.args {
		if _, ok := v.(string); !ok {
			return nil, "strings are needed, not " + describe(v)
		}
	}
	return Token, ""
}

func guid(c call) (Value, string) { return "guid(" + strings.Join(c.texts(), "/") + ")", "" }

func resourceID(c call) (Value, string) {
	args := c.texts()
	for len(args) > 2 && !strings.Contains(args[0], "/") {
		args = args[1:] // subscription and resource group
	}
	return Ref{Text: strings.Join(args, "/") + ".id"}, ""
}

func subscriptionResourceID(c call) (Value, string) {
	return fmt.Sprintf("/subscriptions/%s/providers/%s", Subscription, strings.Join(c.texts(), "/")), ""
}

func cidrSubnet(c call) (Value, string) {
	network, err := netip.ParsePrefix(c.text(0))
	bits, ok1 := c.args[1].(int64)
	n, ok2 := c.args[2].(int64)
	if err != nil || !ok1 || !ok2 || !network.Addr().Is4() {
		return nil, "an IPv4 range, a length and a number are needed"
	}
	room := int(bits) - network.Bits()
	if room < 0 || room > 16 || n >= 1<<room {
		return nil, fmt.Sprintf("%s has no room for subnet %d of /%d", network, n, bits)
	}
	a := network.Masked().Addr().As4()
	sum := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	sum += uint32(n) << (32 - bits)
	addr := netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return netip.PrefixFrom(addr, int(bits)).String(), ""
}
