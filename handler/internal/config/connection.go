package config

import (
	"cmp"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// Connection is where shared state lives, as a Functions connection. Memory,
// the zero Connection, is nowhere: this process forgets.
type Connection struct {
	Setting  string // the app setting that says so: SPILLWAY_STATE or AzureWebJobsStorage
	Text     Secret // connection string; unset when by identity
	TableURL string // by identity: https://ACCOUNT.table.core.windows.net
	BlobURL  string // by identity: of the same account; "" = unknown
	ClientID string // by identity: the user-assigned one; "" = the system-assigned one, or the developer's sign-in
}

// Memory reports whether there is no shared state.
func (c Connection) Memory() bool { return c.Setting == "" }

// emulated is what UseDevelopmentStorage=true stands for: Azurite with the
// account and the key that are printed in its documentation.
const emulated = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;" +
	"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;" +
	"BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;" +
	"TableEndpoint=http://127.0.0.1:10002/devstoreaccount1"

// connection finds the shared state: SPILLWAY_STATE, else what the Functions
// host itself uses, each as a connection string or by identity.
func (c *checker) connection(in *inputs) Connection {
	for _, name := range []string{prefix + "_STATE", "AzureWebJobsStorage"} {
		if found := c.connectionAt(in, name); !found.Memory() {
			return found
		}
	}
	c.settingWarning(prefix+"_STATE", "is not set, and neither is AzureWebJobsStorage: state is kept in memory, and instances do not agree", "Set it to the connection of a storage account.")
	return Connection{}
}

// connectionAt reads one setting in both forms. A string without a key next to
// an identity is what Terraform's provider writes, and means nothing.
func (c *checker) connectionAt(in *inputs, name string) Connection {
	byIdentity := c.identityAt(in, name)
	text := in.get(name)
	if text == "" || (!byIdentity.Memory() && strings.Contains(text+";", "AccountKey=;")) {
		return byIdentity
	}
	if unresolved(text) {
		c.setting(name, "is a Key Vault reference that was not resolved", "Give the app's identity the role Key Vault Secrets User.")
		return Connection{Setting: name}
	}
	if !byIdentity.Memory() {
		c.settingWarning(name, "is given as a connection string and by identity: the string is used", "Remove one of the two.")
	}
	return Connection{Setting: name, Text: NewSecret(c.connectionString(name, text))}
}

// identityAt reads the form with two underscores.
func (c *checker) identityAt(in *inputs, name string) Connection {
	account, table := in.get(name+"__accountName"), in.get(name+"__tableServiceUri")
	credential, client := in.get(name+"__credential"), in.get(name+"__clientId")
	c.parts(in, name)
	found := Connection{Setting: name, ClientID: c.pattern(name+"__clientId", client, guidPattern)}
	if blob := in.get(name + "__blobServiceUri"); blob != "" {
		found.BlobURL = c.service(name+"__blobServiceUri", blob)
	}
	if credential != "" && !strings.EqualFold(credential, "managedidentity") {
		c.setting(name+"__credential", strconv.Quote(credential)+" is no credential that Spillway knows", `Write "managedidentity".`)
	}
	switch {
	case table != "":
		found.TableURL = c.service(name+"__tableServiceUri", table)
	case account != "":
		c.pattern(name+"__accountName", account, accountPattern)
		found.TableURL = "https://" + account + ".table.core.windows.net"
		found.BlobURL = cmp.Or(found.BlobURL, "https://"+account+".blob.core.windows.net")
	case found.BlobURL != "" && name != prefix+"_STATE":
		c.settingWarning(name+"__blobServiceUri", "names blobs only, so state is not kept in that account", "Add "+name+"__tableServiceUri, or set SPILLWAY_STATE__tableServiceUri.")
		return Connection{}
	case name == prefix+"_STATE" && (credential+client+found.BlobURL != ""):
		c.setting(name+"__accountName", "is missing", "Set it, or "+name+"__tableServiceUri, to say which storage account.")
		return Connection{}
	default:
		return Connection{}
	}
	return found
}

// parts looks for misspelt ends of our own connection's settings.
func (c *checker) parts(in *inputs, name string) {
	if name != prefix+"_STATE" {
		return
	}
	known := []string{"tableServiceUri", "blobServiceUri", "queueServiceUri", "accountName", "credential", "clientId"}
	for _, written := range slices.Sorted(maps.Keys(in.all)) {
		end, ours := strings.CutPrefix(written, name+"__")
		if ours && !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, end) }) {
			c.setting(written, "is no part of a connection", jsondoc.DidYouMean(end, known))
		}
	}
}

// service is the address of a table service.
func (c *checker) service(name, text string) string {
	u, err := url.Parse(text)
	if err != nil || u.RawQuery != "" || !document.Private(u) {
		c.setting(name, "is no https URL", `Write the service's address, such as "https://ACCOUNT.table.core.windows.net".`)
	}
	return strings.TrimSuffix(text, "/")
}

// connectionString checks that a table can be reached by it, without
// repeating any of it.
func (c *checker) connectionString(name, text string) string {
	parts := map[string]string{}
	for part := range strings.SplitSeq(strings.Trim(text, "; \t\r\n"), ";") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			c.setting(name, "is no connection string", `Write "AccountName=...;AccountKey=...", or use `+name+"__accountName for access by identity.")
			return text
		}
		parts[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
	}
	if strings.EqualFold(parts["usedevelopmentstorage"], "true") {
		return emulated
	}
	signed := parts["sharedaccesssignature"] != ""
	_, err := base64.StdEncoding.DecodeString(parts["accountkey"])
	switch {
	case parts["accountname"] == "" && parts["tableendpoint"] == "":
		c.setting(name, "names neither an account nor a table endpoint", "Copy the connection string of a storage account again.")
	case !signed && (parts["accountkey"] == "" || err != nil):
		c.setting(name, "holds no valid account key", "Copy the connection string again, or use "+name+"__accountName for access by identity.")
	}
	return text
}
