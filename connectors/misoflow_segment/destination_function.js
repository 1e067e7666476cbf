// A Segment Destination Function that sends every event to misoflow, signed over its whole body, so that
// batches need no second factor. Settings of the function: endpoint (text), sharedSecret (password).
// https://segment.com/docs/connections/functions/destination-functions/

async function deliver(payload, settings) {
  const body = JSON.stringify(payload);
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = crypto
    .createHmac("sha256", settings.sharedSecret)
    .update(`v1.${timestamp}.${body}`, "utf8")
    .digest("base64");
  let response;
  try {
    response = await fetch(settings.endpoint, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "webhook-timestamp": timestamp,
        "webhook-signature": `v1,${signature}`,
      },
      body,
    });
  } catch (error) {
    throw new RetryError(`misoflow could not be reached: ${error.message}`);
  }
  if (response.status >= 500 || response.status === 429) {
    throw new RetryError(`misoflow answered ${response.status}`);
  }
  if (!response.ok) {
    throw new ValidationError(`misoflow answered ${response.status}`);
  }
  return response;
}

async function onTrack(event, settings) { await deliver(event, settings); }
async function onIdentify(event, settings) { await deliver(event, settings); }
async function onPage(event, settings) { await deliver(event, settings); }
async function onScreen(event, settings) { await deliver(event, settings); }
async function onGroup(event, settings) { await deliver(event, settings); }
async function onAlias(event, settings) { await deliver(event, settings); }
async function onDelete(event, settings) { await deliver(event, settings); }

// misoflow answers a batch with one status for each event; Segment retries only those that failed
async function onBatch(events, settings) {
  const response = await deliver(events, settings);
  return response.json();
}
