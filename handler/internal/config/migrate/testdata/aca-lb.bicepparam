using './web.bicep'

param name = 'lb'
param backend_1_url = 'https://contoso.openai.azure.com' // the first
param backend_1_priority = 1
param backend_2_url = 'https://contoso-2.openai.azure.com'
param backend_2_priority = 2
