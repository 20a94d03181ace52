package rules

import "strings"

// transcripts: what an app with transcripts writes to is there, it knows the way, and it may.
func (c checker) transcripts(site string, settings map[string]string) {
	container := strings.Trim(settings["SPILLWAY_TRANSCRIPTS"], `"`)
	if container == "" {
		return
	}
	// The program puts "/container/blob" behind the address as it stands.
	address := strings.Trim(settings["SPILLWAY_STATE__blobServiceUri"], `"`)
	account, isStorage := strings.CutSuffix(strings.TrimPrefix(address, "https://"), ".blob.core.windows.net")
	if !isStorage {
		c.say("rule-settings", "%s: SPILLWAY_STATE__blobServiceUri is %q: transcripts need the address of blobs, without a slash at its end", site, address)
		return
	}
	subject := account + "/default/" + container
	if _, there := c.inv["Microsoft.Storage/storageAccounts/blobServices/containers "+subject]; !there {
		c.say("rule-settings", "%s: SPILLWAY_TRANSCRIPTS names the container %s, which is not made in %s", site, container, account)
		return
	}
	c.needRole("ba92f5b4-2d11-453d-a403-e96b0029c9fe", "Microsoft.Storage/storageAccounts/"+account+"/blobServices/default/containers/"+container)
	c.each("Microsoft.Network/virtualNetworks ", func(network string, _ map[string]string) {
		if !c.endpoint(network, "Microsoft.Storage/storageAccounts/"+account, "blob") {
			c.say("rule-network", "%s has no private endpoint for the transcripts in %s", network, account)
		}
	})
}
