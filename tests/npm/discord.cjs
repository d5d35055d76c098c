// Judges embeds: each line of stdin is a message's JSON. Writes a line for each: "ok", or what is wrong.
const { EmbedBuilder } = require("@discordjs/builders");
const lines = require("node:fs").readFileSync(0, "utf8").trim().split("\n");

function judge(embed) {
  const built = new EmbedBuilder();
  if ("title" in embed) built.setTitle(embed.title);
  if ("url" in embed) built.setURL(embed.url);
  if ("description" in embed) built.setDescription(embed.description);
  if ("image" in embed) built.setImage(embed.image.url);
  require("node:assert").deepStrictEqual(built.toJSON(), embed);
}

for (const line of lines) {
  try {
    JSON.parse(line).embeds.forEach(judge);
    console.log("ok");
  } catch (error) {
    console.log(String(error.message).split("\n")[0] || error.name);
  }
}
