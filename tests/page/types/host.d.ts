declare module "react-helmet";
