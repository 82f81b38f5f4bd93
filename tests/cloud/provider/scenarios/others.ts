/** What others do in the cloud between two commands. */
import type { Hetzner } from "../../hetzner/hetzner.ts";

type Actions = { readonly actions: readonly { readonly status: string }[] };

/** Pulls the plug of the server with that name, and waits until it is off. */
export const switchOff = (name: string) => async (hetzner: Hetzner) => {
  const { servers } = (await call(hetzner, "GET", `/servers?name=${name}`)) as { servers: { id: number }[] };
  const { action } = (await call(hetzner, "POST", `/servers/${servers[0]?.id}/actions/poweroff`)) as {
    action: { id: number };
  };
  for (let running = true; running; ) {
    const { actions } = (await call(hetzner, "GET", `/actions?id=${action.id}`)) as Actions;
    running = actions.some(({ status }) => status === "running");
  }
};

async function call(hetzner: Hetzner, method: string, path: string): Promise<unknown> {
  const answer = await fetch(hetzner.endpoint + path, {
    method,
    headers: { authorization: `Bearer ${hetzner.token}` },
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
