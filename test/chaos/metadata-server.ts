/** A fake metadata service of AWS on loopback. A test makes it announce the end of a machine. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface MetadataServer {
  /** URL of the service for one of the machines. */
  urlOf(machine: number): string
  takeBack(machine: number): void
  close(): void
}

export async function startMetadataServer(): Promise<MetadataServer> {
  const taken = new Set<number>()
  const server = createServer(({ method, url, headers }, response) => {
    const { status, text = '' } = answerTo(method, url ?? '', headers['x-aws-ec2-metadata-token'])
    response.writeHead(status).end(text)
  })
  const answerTo = (method: string | undefined, url: string, token: unknown) => {
    const [, machine, path] = /^\/(\d+)\/latest\/(.+)$/.exec(url) ?? []
    if (method === 'PUT' && path === 'api/token') return { status: 200, text: 'token' }
    if (token !== 'token') return { status: 401 }
    const ends = path === 'meta-data/spot/instance-action' && taken.has(Number(machine))
    if (!ends) return { status: 404 }
    const action = { action: 'terminate', time: '2026-01-01T00:00:00Z' }
    return { status: 200, text: JSON.stringify(action) }
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    urlOf: (machine) => `http://127.0.0.1:${port}/${machine}`,
    takeBack: (machine) => void taken.add(machine),
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
