// Reads every query of a folder with Microsoft's own parser of Kusto, against
// the table that the Functions host writes to, and prints what is wrong.
// usage: node kusto.js NODE_MODULES FOLDER
const fs = require('fs')
const path = require('path')

const [modules, folder] = process.argv.slice(2)
const kusto = path.join(modules, '@kusto', 'language-service-next')
require(path.join(kusto, 'bridge.min.js'))
require(path.join(kusto, 'Kusto.Language.Bridge.min.js'))

const { Symbols, GlobalState, KustoCode } = Kusto.Language
const traces = Symbols.TableSymbol.From(
  '(TimeGenerated:datetime, Message:string, SeverityLevel:int, Properties:dynamic, OperationId:string, AppRoleName:string, AppRoleInstance:string, ItemCount:int)',
).WithName('AppTraces')
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor('logs', [traces]))

let read = 0
for (const file of fs.readdirSync(folder).filter((name) => name.endsWith('.kql'))) {
  const code = KustoCode.ParseAndAnalyze(fs.readFileSync(path.join(folder, file), 'utf8'), globals)
  const faults = code.GetDiagnostics()
  for (let i = 0; i < faults.Count; i++) {
    const fault = faults.getItem(i)
    console.log(`${file}:${fault.Start}: ${fault.Message}`)
  }
  read++
}
console.log(`${read} queries read`)
