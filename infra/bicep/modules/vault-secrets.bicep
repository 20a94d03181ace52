// The secrets that come with the deployment. Their names are a parameter, so that a preview shows them.
param vaultName string
param names string[]
@secure()
param secrets object

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

// An empty value makes the reference only: somebody else puts the secret there.
resource values 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = [
  for name in names: if (!empty(secrets[?name])) {
    parent: vault
    name: toLower(replace(name, '_', '-'))
    properties: { value: secrets[name] }
  }
]
